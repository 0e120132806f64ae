//! Scripts that a reader learns the machine's behaviour from: each file is a script with the
//! machine's exact answers. `UPDATE=1 cargo test --test scenarios` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

#[test]
fn the_machine_answers_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let written = fs::read_to_string(&path).unwrap();
        let played = sexton_sim::script::play(&written).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(played, written, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 2);
}
