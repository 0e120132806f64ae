use sexton::machine::ids::BoardId;

use super::*;
use crate::saboteur::Saboteur;
use crate::sweep::{SIZE, entropy};
use crate::trace::Who;
use crate::world::{Options, run};

mod script;

const SUBJECT: Subject<'_> =
    Subject { name: "seed 0", replay: "cargo sim replay --seed 0", bug: Some("a bug") };

/// The first run that this planted bug breaks.
fn broken() -> Run {
    let options =
        Options { trace: true, saboteur: Some(Saboteur::ReapInsideThePass), ..Options::default() };
    let mut runs = (0..50).map(|seed| run(entropy(seed, SIZE), options));
    runs.find(|run| run.broken.is_some()).expect("the bug is found")
}

/// What the page is drawn from, as its script reads it.
fn data_in(page: &str) -> Value {
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"run\">").expect("data");
    let (data, _) = data.split_once("</script>").expect("an end");
    serde_json::from_str(data).expect("JSON")
}

/// Returns what is wrong with the nesting of a page's tags or with its attributes.
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
            return Some(format!("<{tag}> is not a tag"));
        }
        if tag.starts_with('/') {
            if open.pop() != Some(name) {
                return Some(format!("<{tag}> closes what is not open"));
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        // Their content is not markup.
        if ["style", "script"].contains(&name) && !tag.starts_with('/') {
            rest = &rest[rest.find(&format!("</{name}"))?..];
        }
    }
    (!open.is_empty()).then(|| format!("{open:?} are open"))
}

#[test]
fn the_page_of_a_broken_promise_names_it_and_every_process() {
    let run = broken();
    let page = page(&SUBJECT, &run);
    assert_eq!(wrong(&page), None);
    let data = data_in(&page);
    let promise = run.broken.as_ref().map(|broken| broken.promise).expect("it is broken");
    assert!(page.contains(&format!("<title>seed 0: {promise} is broken</title>")));
    assert_eq!(data["broken"]["promise"], promise);
    assert_eq!((&data["bug"], &data["replay"]), (&json!("a bug"), &json!(SUBJECT.replay)));
    let records = data["trace"].as_array().expect("records");
    assert_eq!(records.len(), run.trace.len());
    for (n, (json, record)) in records.iter().zip(&run.trace).enumerate() {
        assert_eq!((&json["n"], &json["at_ms"]), (&json!(n), &json!(record.at)));
        if let (Who::Process(uid), What::Started { pid, .. }) = (record.who, &record.what) {
            assert_eq!((&json["number"], &json["pid"]), (&json!(uid.0), &json!(pid.0)));
        }
    }
    assert_eq!(records.last().map(|last| &last["kind"]), Some(&json!("broken")));
}

#[test]
fn the_title_of_a_good_run_shows_it() {
    let run = run(entropy(62, SIZE), Options { trace: true, ..Options::default() });
    let page = page(&SUBJECT, &run);
    assert!(page.contains("<title>seed 0: every promise is kept</title>"));
    assert_eq!(data_in(&page)["broken"], Value::Null);
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = page(&SUBJECT, &broken());
    for outside in ["http:", "https:", "src=", "@import", "<link", "fetch(", "import("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("href=").count(), page.matches("href=\"#").count());
    assert_eq!(page.matches("url(").count(), page.matches("url(#").count());
}

#[test]
fn the_same_run_has_the_same_page() {
    assert_eq!(page(&SUBJECT, &broken()), page(&SUBJECT, &broken()));
}

#[test]
fn text_that_looks_like_markup_stays_text() {
    let mut run = broken();
    let evil = "</code></script><img src=x onerror='a' b=\"c\"><!--story--><script>&\u{2028}\u{1}";
    for who in [Who::World, Who::Board(BoardId(0))] {
        run.trace.push(Record { at: 0, who, what: What::Note(evil.to_owned()) });
    }
    let what = What::Effect(Effect::Report(Report::Unexpected(evil)));
    run.trace.push(Record { at: 0, who: Who::Dispatcher(0), what });
    run.broken = run.broken.map(|broken| Broken { how: evil.to_owned(), ..broken });
    let page = page(&Subject { name: evil, replay: evil, bug: Some(evil) }, &run);
    assert_eq!(wrong(&page), None);
    assert!(!page.contains("<img"));
    assert_eq!(
        page.matches("</script").count(),
        include_str!("page.html").matches("</script").count()
    );
    let data = data_in(&page);
    for kept in [&data["replay"], &data["bug"], &data["broken"]["how"]] {
        assert_eq!(kept, evil);
    }
}

#[test]
fn a_run_without_records_and_one_with_very_many_have_a_page() {
    let drawn: usize = MOST.iter().sum();
    let mut run = broken();
    let records = run.trace.clone();
    while run.trace.len() <= drawn + records.len() {
        run.trace.extend(records.iter().cloned());
    }
    let long = page(&SUBJECT, &run);
    assert_eq!(wrong(&long), None);
    let data = data_in(&long);
    let cut = MOST[0]..run.trace.len() - MOST[1];
    assert_eq!(data["cut"], json!([cut.start, cut.end]));
    let numbers = data["trace"].as_array().expect("records").iter().map(|json| json["n"].as_u64());
    let numbers: Vec<usize> = numbers.flatten().map(|n| n as usize).collect();
    assert_eq!(numbers.iter().filter(|n| !cut.contains(n)).count(), drawn);
    let births = |n: &usize| matches!(run.trace[*n].what, What::Started { .. } | What::Reaped);
    for n in cut.filter(births) {
        assert!(numbers.contains(&n), "record {n} of a process is lost");
    }
    run.trace.clear();
    assert_eq!(wrong(&page(&SUBJECT, &run)), None);
}

#[test]
fn a_long_text_is_cut_between_two_characters() {
    let what = What::Note("\u{e9}".repeat(LONGEST + 1));
    let records = [Record { at: 0, who: Who::World, what }];
    let text = trace(&records, &(0..0))[0]["text"].as_str().map(|text| text.chars().count());
    assert_eq!(text, Some(LONGEST + 1));
}

#[test]
fn ordinary_runs_have_a_page_of_a_fair_size() {
    for seed in 0..8 {
        let run = run(entropy(seed, SIZE), Options { trace: true, ..Options::default() });
        let page = page(&SUBJECT, &run);
        assert_eq!(wrong(&page), None, "seed {seed}");
        assert!(page.len() < 2_000_000, "seed {seed}: {}", page.len());
    }
}

#[test]
fn what_was_filled_in_is_not_a_template() {
    let page = fill("a<!--x-->b<!--y-->c", &[("x", "<!--y-->"), ("y", "2")]);
    assert_eq!(page, "a<!--y-->b2c");
}

#[test]
fn every_part_of_the_page_has_its_place() {
    let page = page(&SUBJECT, &broken());
    assert!(!page.contains("<!--"), "a part is left out");
}

/// Every event and effect of these runs, and every sign, is one that the script knows.
#[test]
fn every_kind_of_record_is_known() {
    let words = include_str!("words.js");
    let table = |kind: &str| {
        let (_, table) = words.split_once(&format!("  {kind}: {{")).expect("a table");
        table.split_once("\n  },").expect("its end").0
    };
    for seed in 0..60 {
        let run = run(entropy(seed, SIZE), Options { trace: true, ..Options::default() });
        for json in run.trace.iter().map(record) {
            let kind = json["kind"].as_str().unwrap_or_default();
            if let ("event" | "effect", Some(name)) = (kind, json["name"].as_str()) {
                assert!(table(kind).contains(&format!("\n    {name}: [")), "{kind} {name}");
            }
        }
    }
    for row in words.lines().filter_map(|line| line.split_once(": [\"")) {
        let sign = row.1.split('"').next().unwrap_or_default();
        let id = format!("<g id=\"{sign}\">");
        assert!(include_str!("page.html").contains(&id), "{sign} is not a sign");
    }
    let story = include_str!("story.js");
    for trouble in ["disk full", "read-only", "busy"] {
        assert!(Fault::ALL.iter().any(|fault| fault.name().starts_with(trouble)), "{trouble}");
        assert!(story.contains(&format!("\"{trouble}\"")), "{trouble}");
    }
}
