//! Patterns of file names: `*` stands for any text, `?` for one character.

/// Tells whether a name fits a pattern; the case counts. The work is the product of both lengths at most.
pub fn fits(name: &str, pattern: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    // Which prefixes of the pattern fit what was read of the name.
    let mut row = vec![true];
    row.extend(pattern.iter().scan(true, |open, one| {
        *open &= *one == '*';
        Some(*open)
    }));
    for c in name.chars() {
        let mut next = vec![false];
        for (i, one) in pattern.iter().enumerate() {
            let was = |at: usize, row: &[bool]| row.get(at).copied().unwrap_or(false);
            next.push(match one {
                '*' => was(i, &next) || was(i.saturating_add(1), &row),
                one => was(i, &row) && (*one == '?' || *one == c),
            });
        }
        row = next;
    }
    row.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_text_and_a_question_mark_for_one_character() {
        for (name, pattern) in [("a.vhd", "*.vhd"), ("a.vhd", "?.vhd"), ("", "*"), ("abcbc", "a*bc"), ("a", "a**")] {
            assert!(fits(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("a.vhdx", "*.vhd"), ("ab.vhd", "?.vhd"), ("", "?"), ("abcb", "a*bc")] {
            assert!(!fits(name, pattern), "{name} {pattern}");
        }
    }
}
