//! Words of a command line that is shown, for a person to copy.

/// Returns a file's name or path as a shell and a command take it: a name that begins with a dash would be an option.
pub fn word(path: &str) -> String {
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    match !path.is_empty() && path.chars().all(is_plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_for_a_shell_and_no_option() {
        for (path, expected) in [
            ("a/b.vhd", "a/b.vhd"),
            ("-o.vhd", "./-o.vhd"),
            ("a b", "'a b'"),
            ("it's $(x)", r"'it'\''s $(x)'"),
            ("", "''"),
        ] {
            assert_eq!(word(path), expected);
        }
    }
}
