//! How long the long tests are: a minute or less as they stand, and longer if a variable says so.

/// The times that each story's dispatcher is killed.
pub fn kills() -> u64 {
    number("SEXTON_KILLS", 15)
}

/// The workers whose pids are given to strangers.
pub fn workers() -> u64 {
    number("SEXTON_WORKERS", 300)
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}
