//! Task ids as names of files.

/// True if `id` can be the name of a file or directory without leaving the directory that it is put
/// in.
pub fn is_plain(id: &str) -> bool {
    !id.is_empty() && id != "." && id != ".." && !id.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_leads_elsewhere_is_not_plain() {
        for id in ["", ".", "..", "/etc/passwd", "../x", "a/../b", "a/b", "a\0b"] {
            assert!(!is_plain(id), "{id:?}");
        }
        for id in ["t_0123abcd", "..x", "a b", "ünïcode", "-rf"] {
            assert!(is_plain(id), "{id:?}");
        }
    }
}
