//! The known name that an unknown one was probably meant to be.

/// Returns the candidate that differs least from `name`, without regard to case; `None` if none is near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer input is no identifier; the bound keeps the work small.
    const LONGEST_CHARS: usize = 64;
    let name: Vec<char> = name.trim().to_uppercase().chars().take(LONGEST_CHARS).collect();
    let near = name.len() / 3;
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.to_uppercase().chars().collect::<Vec<_>>()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= near)
        .map(|(_, candidate)| candidate)
}

/// Returns how many characters must be inserted, removed or replaced to turn one name into the other (Levenshtein).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, above) in other.iter().zip(row.iter_mut().skip(1)) {
            let cost = (diagonal + usize::from(a != b)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, cost);
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn distance_counts_edits() {
        for (one, other, edits) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("abc", "abc", 0)]
        {
            assert_eq!(distance(&chars(one), &chars(other)), edits, "{one} {other}");
        }
    }

    #[test]
    fn a_slip_finds_the_name_and_nonsense_finds_none() {
        let names = ["WN22-SO-000120", "WN22-SO-000130", "V-254456"];
        assert_eq!(nearest("wn22-so-00012", names), Some("WN22-SO-000120"));
        assert_eq!(nearest("V-25456", names), Some("V-254456"));
        assert_eq!(nearest("lockscreen", names), None);
        assert_eq!(nearest("", names), None);
    }
}
