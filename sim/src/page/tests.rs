use super::*;
use crate::saboteur::Saboteur;
use crate::sweep::{SIZE, entropy};
use crate::trace::{Record, What, Who};
use crate::world::{Options, run};

/// The first run that this planted bug breaks.
fn broken() -> Run {
    let options = Options { trace: true, saboteur: Some(Saboteur::ReapInsideThePass) };
    let mut runs = (0..50).map(|seed| run(entropy(seed, SIZE), options));
    runs.find(|run| run.broken.is_some()).expect("the bug is found")
}

/// Says what is wrong with the nesting of a page's tags and with its attributes.
fn wrong(page: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>")?;
    while let Some((text, tag)) = rest.split_once('<') {
        if text.contains('>') {
            return Some(format!("a > in the text {text:?}"));
        }
        let Some((tag, after)) = tag.split_once('>') else { return Some("an open tag".to_owned()) };
        rest = after;
        if tag.matches('"').count() % 2 == 1 || tag.contains('\'') {
            return Some(format!("attributes of <{tag}>"));
        }
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Some(format!("<{tag}> is no tag"));
        }
        if tag.starts_with('/') {
            if open.pop() != Some(name) {
                return Some(format!("<{tag}> closes what is not open"));
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        // No markup there.
        if ["style", "script"].contains(&name) && !tag.starts_with('/') {
            rest = &rest[rest.find(&format!("</{name}"))?..];
        }
    }
    (!open.is_empty()).then(|| format!("{open:?} are open"))
}

#[test]
fn the_page_of_a_broken_promise_names_it_and_every_process() {
    let run = broken();
    let page = page("a planted bug", &run);
    assert_eq!(wrong(&page), None);
    let promise = run.broken.as_ref().map(|broken| broken.promise).expect("it is broken");
    assert!(page.contains(&format!("Broken promise</em> <code>{promise}</code>")));
    assert!(page.contains("class=\"rule broken\""));
    for record in &run.trace {
        if let (Who::Process(uid), What::Started { .. }) = (record.who, &record.what) {
            assert!(page.contains(&format!("id=\"p{}\"", uid.0)), "process {}", uid.0);
        }
    }
    assert_eq!(page.matches("<div class=\"r ").count(), run.trace.len());
}

#[test]
fn nothing_is_asked_of_anybody_else() {
    let page = page("alone", &broken());
    for outside in ["http:", "https:", "src=", "url(\"", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("href=").count(), page.matches("href=\"#").count());
}

#[test]
fn the_same_run_gives_the_same_page() {
    assert_eq!(page("twice", &broken()), page("twice", &broken()));
}

#[test]
fn text_that_looks_like_markup_stays_text() {
    let mut run = broken();
    let evil = "</code></script><img src=x onerror='a' b=\"c\"><!--rows-->&";
    for (who, what) in [
        (Who::World, What::Note(evil.to_owned())),
        (Who::Dispatcher(0), What::Event(evil.to_owned())),
        (Who::Dispatcher(0), What::Effect(evil.to_owned())),
        (Who::Board(sexton::machine::ids::BoardId(0)), What::Note(evil.to_owned())),
    ] {
        run.trace.push(Record { at: 0, who, what });
    }
    run.broken = run.broken.map(|broken| crate::world::Broken { how: evil.to_owned(), ..broken });
    let page = page(evil, &run);
    assert_eq!(wrong(&page), None);
    assert!(!page.contains("<img"));
}

#[test]
fn a_run_without_records_and_one_with_very_many_have_a_page() {
    let mut run = broken();
    let records = run.trace.clone();
    while run.trace.len() <= 2 * MOST {
        run.trace.extend(records.iter().cloned());
    }
    let long = page("long", &run);
    assert_eq!(wrong(&long), None);
    assert_eq!(long.matches("<div class=\"r ").count(), MOST);
    run.trace.clear();
    assert_eq!(wrong(&page("empty", &run)), None);
}

#[test]
fn ordinary_runs_have_a_page_of_a_fair_size() {
    for seed in 0..8 {
        let run = run(entropy(seed, SIZE), Options { trace: true, saboteur: None });
        let page = page("as it should be", &run);
        assert_eq!(wrong(&page), None, "seed {seed}");
        assert!(page.len() < 2_000_000, "seed {seed}: {}", page.len());
    }
}
