//! The known name that an unknown one was probably meant to be.

/// Returns the candidate that differs least from `name`, without regard to case; `None` if none is near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer input is no identifier; the bound keeps the work small.
    const LONGEST_CHARS: usize = 64;
    let name: String = name.trim().to_uppercase().chars().take(LONGEST_CHARS).collect();
    let near = name.chars().count() / 3;
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&name, &candidate.to_uppercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= near)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_and_nonsense_finds_none() {
        let names = ["WN22-SO-000120", "WN22-SO-000130", "V-254456"];
        assert_eq!(nearest("wn22-so-00012", names), Some("WN22-SO-000120"));
        assert_eq!(nearest("V-25456", names), Some("V-254456"));
        assert_eq!(nearest("lockscreen", names), None);
        assert_eq!(nearest("", names), None);
    }
}
