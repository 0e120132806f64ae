//! A header on its own: *these bytes, exactly this judgement*.

use crate::machine::header::{Header, HeaderError, LEN, check};

/// What SQLite writes at the head of a new database with pages of 4096 bytes, with these bytes in
/// place of its own.
fn with(changed: &[(usize, &[u8])]) -> [u8; LEN] {
    let mut header = [0; LEN];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"SQLite format 3\0");
    put(16, &[16, 0]);
    put(18, &[1, 1, 0, 64, 32, 32]);
    put(44, &[0, 0, 0, 4]);
    put(56, &[0, 0, 0, 1]);
    for (at, bytes) in changed {
        put(*at, bytes);
    }
    header
}

/// What is said of such a header, before as many bytes as anything can need.
fn judged(changed: &[(usize, &[u8])]) -> Result<Header, HeaderError> {
    check(&with(changed), 65_536)
}

const SOUND: Header = Header { page_size: 4096, wal: false, empty: false };

#[test]
fn a_header_that_sqlite_has_written_is_sound() {
    assert_eq!(judged(&[]), Ok(SOUND));
}

#[test]
fn a_file_with_less_than_a_header_or_the_smallest_page_is_too_short() {
    for size in [0, 1, 99] {
        let short = HeaderError::Short { size: size as u64 };
        assert_eq!(check(&with(&[])[..size], size as u64), Err(short));
    }
    let smallest = with(&[(16, &[2, 0])]);
    assert_eq!(check(&smallest, 511), Err(HeaderError::Short { size: 511 }));
    assert_eq!(check(&smallest, 512), Ok(Header { page_size: 512, ..SOUND }));
    assert_eq!(check(&smallest, 513), Ok(Header { page_size: 512, ..SOUND }));
}

#[test]
fn a_file_that_begins_otherwise_is_not_a_database() {
    for at in 0..16 {
        assert_eq!(judged(&[(at, b"x")]), Err(HeaderError::Magic), "byte {at}");
    }
}

#[test]
fn a_page_has_a_power_of_two_of_bytes_from_512_to_65536() {
    for (bytes, page_size) in [([2, 0], 512), ([4, 0], 1024), ([128, 0], 32_768), ([0, 1], 65_536)]
    {
        assert_eq!(judged(&[(16, &bytes)]), Ok(Header { page_size, ..SOUND }));
    }
    for (bytes, found) in [([0, 0], 0), ([0, 2], 2), ([1, 0], 256), ([2, 1], 513), ([3, 0], 768)] {
        assert_eq!(judged(&[(16, &bytes)]), Err(HeaderError::PageSize { found }));
    }
}

#[test]
fn a_file_shorter_than_its_first_page_is_truncated() {
    let truncated = HeaderError::Truncated { size: 4095, page: 4096 };
    assert_eq!(check(&with(&[]), 4095), Err(truncated));
    assert_eq!(check(&with(&[]), 4096), Ok(SOUND));
    assert_eq!(check(&with(&[]), 4097), Ok(SOUND));
}

#[test]
fn format_versions_are_1_or_2_and_the_read_version_shows_whether_there_is_a_wal() {
    for (write, read, wal) in [(1, 1, false), (1, 2, true), (2, 1, false), (2, 2, true)] {
        assert_eq!(judged(&[(18, &[write, read])]), Ok(Header { wal, ..SOUND }));
    }
    for (write, read) in [(0, 1), (1, 0), (3, 1), (1, 3), (0, 0), (255, 255)] {
        assert_eq!(judged(&[(18, &[write, read])]), Err(HeaderError::Version { write, read }));
    }
}

#[test]
fn of_each_page_at_least_480_bytes_are_usable() {
    let small: (usize, &[u8]) = (16, &[2, 0]);
    for found in [0, 31, 32] {
        let sound = Ok(Header { page_size: 512, ..SOUND });
        assert_eq!(judged(&[small, (20, &[found])]), sound, "{found} reserved");
    }
    for found in [33, 255] {
        assert_eq!(judged(&[small, (20, &[found])]), Err(HeaderError::Reserved { found }));
    }
    assert_eq!(judged(&[(20, &[255])]), Ok(SOUND), "a larger page can spare more");
}

#[test]
fn payload_fractions_are_always_the_same() {
    for found in [[63, 32, 32], [64, 31, 32], [64, 32, 33], [0, 0, 0]] {
        assert_eq!(judged(&[(21, &found)]), Err(HeaderError::Fractions { found }));
    }
}

#[test]
fn a_schema_format_is_1_to_4_or_0_while_nothing_was_created() {
    for format in 1..=4 {
        assert_eq!(judged(&[(44, &[0, 0, 0, format])]), Ok(SOUND), "{format}");
    }
    assert_eq!(judged(&[(44, &[0; 4])]), Ok(Header { empty: true, ..SOUND }));
    for (bytes, found) in [([0, 0, 0, 5], 5), ([0, 0, 1, 4], 260), ([128, 0, 0, 1], (1 << 31) + 1)]
    {
        assert_eq!(judged(&[(44, &bytes)]), Err(HeaderError::SchemaFormat { found }));
    }
}

#[test]
fn a_text_encoding_is_1_to_3_or_0_while_nothing_was_created() {
    let empty: (usize, &[u8]) = (44, &[0; 4]);
    for encoding in 1..=3 {
        let bytes = [0, 0, 0, encoding];
        assert_eq!(judged(&[(56, &bytes)]), Ok(SOUND), "{encoding}");
        assert_eq!(judged(&[empty, (56, &bytes)]), Ok(Header { empty: true, ..SOUND }));
    }
    assert_eq!(judged(&[(56, &[0; 4])]), Err(HeaderError::Encoding { found: 0 }));
    assert_eq!(judged(&[empty, (56, &[0; 4])]), Ok(Header { empty: true, ..SOUND }));
    for (bytes, found) in [([0, 0, 0, 4], 4), ([0, 0, 1, 1], 257)] {
        let encoding = HeaderError::Encoding { found };
        assert_eq!(judged(&[(56, &bytes)]), Err(encoding));
        assert_eq!(judged(&[empty, (56, &bytes)]), Err(encoding));
    }
}

#[test]
fn the_message_names_what_was_found() {
    for (error, text) in [
        (HeaderError::Short { size: 7 }, "it has 7 bytes, too few for a database"),
        (HeaderError::Magic, "it does not begin like an SQLite database"),
        (HeaderError::PageSize { found: 3 }, "its header has a page size of 3"),
        (
            HeaderError::Truncated { size: 600, page: 1024 },
            "it has 600 bytes, less than one page of 1024",
        ),
        (
            HeaderError::Version { write: 1, read: 3 },
            "its header has format versions 1 (write) and 3 (read)",
        ),
        (HeaderError::Fractions { found: [1, 2, 3] }, "its header has payload fractions 1, 2, 3"),
        (HeaderError::Reserved { found: 99 }, "its header reserves 99 bytes of each page"),
        (HeaderError::SchemaFormat { found: 5 }, "its header has schema format 5"),
        (HeaderError::Encoding { found: 4 }, "its header has text encoding 4"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
