//! Properties over entropy: whatever happens in a simulated world, every promise holds. What once
//! broke one stays in `tests/regressions/`.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use sexton_sim::sweep::Sweep;
use sexton_sim::world::{Options, run};

fn config(cases: u32) -> ProptestConfig {
    let file = FileFailurePersistence::Direct("tests/regressions/properties.txt");
    ProptestConfig { cases, failure_persistence: Some(Box::new(file)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn no_entropy_breaks_a_promise(bytes in vec(any::<u8>(), 0..1_500)) {
        let run = run(bytes, Options::default());
        prop_assert_eq!(run.broken, None);
    }

    #[test]
    fn the_same_entropy_gives_the_same_run(bytes in vec(any::<u8>(), 0..600)) {
        let (first, second) =
            (run(bytes.clone(), Options::default()), run(bytes, Options::default()));
        prop_assert_eq!((first.hash, first.events), (second.hash, second.events));
    }

    #[test]
    fn looking_at_a_run_does_not_change_it(bytes in vec(any::<u8>(), 0..400)) {
        let looked = run(bytes.clone(), Options { trace: true, ..Options::default() });
        prop_assert_eq!(looked.hash, run(bytes, Options::default()).hash);
        prop_assert!(!looked.trace.is_empty());
    }
}

/// Two hundred seeds, every fault struck or not: enough to notice a machine that is broken.
#[test]
fn a_short_sweep_is_clean() {
    let sweep = Sweep {
        seeds: 0..200,
        size: sexton_sim::sweep::SIZE,
        jobs: 2,
        options: Options::default(),
        stop_early: true,
    };
    assert_eq!(sweep.run(|_| true).broken, []);
}

#[test]
fn what_once_broke_a_promise_does_so_no_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "entropy") {
            let broken = run(fs::read(&path).unwrap(), Options::default()).broken;
            assert_eq!(broken, None, "{}", path.display());
        }
    }
}
