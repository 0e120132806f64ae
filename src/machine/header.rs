//! Are these 100 bytes the header of a database that can be used?
//!
//! Refused is what SQLite refuses, what it would take for a new empty database, and a few values
//! that it reads over but never writes (a format version of 0, garbage above the low bits of schema
//! format and encoding): they are damage. A header that SQLite has written is never refused.

use core::fmt;

/// Bytes of a database header.
pub const LEN: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The fields of a sound header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Bytes of a page.
    pub page_size: u32,
    /// True if the file is in WAL mode.
    pub wal: bool,
    /// True if nothing was ever created in it.
    pub empty: bool,
}

/// What is wrong with a header, and what was found in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderError {
    /// The file is too short to hold a database. SQLite would take some of these for new databases.
    Short {
        /// Its size in bytes.
        size: u64,
    },
    /// It does not begin with SQLite's magic text.
    Magic,
    /// The page size is not a power of two from 512 to 65536.
    PageSize {
        /// The page size that the header names.
        found: u32,
    },
    /// The file is shorter than its first page.
    Truncated {
        /// Its size in bytes.
        size: u64,
        /// The bytes of a page.
        page: u32,
    },
    /// Its format versions are not 1 (journal) or 2 (WAL).
    Version {
        /// Format version for writing, at offset 18.
        write: u8,
        /// Format version for reading, at offset 19.
        read: u8,
    },
    /// The payload fractions are not 64, 32, 32.
    Fractions {
        /// The bytes at offsets 21 to 23.
        found: [u8; 3],
    },
    /// Too much of each page is reserved to leave a usable one.
    Reserved {
        /// Reserved bytes at the end of each page, at offset 20.
        found: u8,
    },
    /// The schema format is not 1 to 4.
    SchemaFormat {
        /// The number found.
        found: u32,
    },
    /// The text encoding is not 1 to 3.
    Encoding {
        /// The number found.
        found: u32,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Short { size } => {
                write!(f, "it has {size} bytes, too few for a database")
            }
            HeaderError::Magic => f.write_str("it does not begin like an SQLite database"),
            HeaderError::PageSize { found } => write!(f, "its header has a page size of {found}"),
            HeaderError::Truncated { size, page } => {
                write!(f, "it has {size} bytes, less than one page of {page}")
            }
            HeaderError::Version { write, read } => {
                write!(f, "its header has format versions {write} (write) and {read} (read)")
            }
            HeaderError::Fractions { found: [max, min, leaf] } => {
                write!(f, "its header has payload fractions {max}, {min}, {leaf}")
            }
            HeaderError::Reserved { found } => {
                write!(f, "its header reserves {found} bytes of each page")
            }
            HeaderError::SchemaFormat { found } => {
                write!(f, "its header has schema format {found}")
            }
            HeaderError::Encoding { found } => write!(f, "its header has text encoding {found}"),
        }
    }
}

impl core::error::Error for HeaderError {}

/// Judges the first bytes of a file of `file_size` bytes.
pub fn check(bytes: &[u8], file_size: u64) -> Result<Header, HeaderError> {
    let header: &[u8; LEN] = bytes.first_chunk().ok_or(HeaderError::Short { size: file_size })?;
    if file_size < 512 {
        return Err(HeaderError::Short { size: file_size });
    }
    if !header.starts_with(MAGIC) {
        return Err(HeaderError::Magic);
    }
    let page_size = page_size(u16::from_be_bytes([header[16], header[17]]))?;
    if file_size < u64::from(page_size) {
        return Err(HeaderError::Truncated { size: file_size, page: page_size });
    }
    let (write, read) = (header[18], header[19]);
    if !(1..=2).contains(&write) || !(1..=2).contains(&read) {
        return Err(HeaderError::Version { write, read });
    }
    let reserved = header[20];
    if page_size - u32::from(reserved) < 480 {
        return Err(HeaderError::Reserved { found: reserved });
    }
    let fractions = [header[21], header[22], header[23]];
    if fractions != [64, 32, 32] {
        return Err(HeaderError::Fractions { found: fractions });
    }
    let schema_format = u32::from_be_bytes([header[44], header[45], header[46], header[47]]);
    if schema_format > 4 {
        return Err(HeaderError::SchemaFormat { found: schema_format });
    }
    let empty = schema_format == 0;
    let encoding = u32::from_be_bytes([header[56], header[57], header[58], header[59]]);
    if encoding > 3 || (encoding == 0 && !empty) {
        return Err(HeaderError::Encoding { found: encoding });
    }
    Ok(Header { page_size, wal: read == 2, empty })
}

/// The page size that the two bytes stand for: 1 means 65536.
fn page_size(raw: u16) -> Result<u32, HeaderError> {
    let size = if raw == 1 { 65_536 } else { u32::from(raw) };
    if size >= 512 && size.is_power_of_two() {
        Ok(size)
    } else {
        Err(HeaderError::PageSize { found: size })
    }
}
