//! `sexton-sim`: temporary
use sexton_sim::{
    fault::Fault,
    saboteur::Saboteur,
    sometimes::Sometimes,
    sweep::Sweep,
    world::{Options, run},
};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    match a[1].as_str() {
        "sweep" => {
            let n: u64 = a[2].parse().unwrap();
            let t = std::time::Instant::now();
            let sum = Sweep {
                seeds: 0..n,
                size: 1536,
                jobs: 1,
                options: Options::default(),
                stop_early: false,
            }
            .run(|_| true);
            let dt = t.elapsed().as_secs_f64();
            println!("{} events {:.0}/s", sum.events, sum.events as f64 / dt);
            for (f, n) in Fault::ALL.iter().zip(sum.fired) {
                print!("{} {n}; ", f.name());
            }
            println!();
            for (f, n) in Sometimes::ALL.iter().zip(sum.reached) {
                print!("{} {n}; ", f.name());
            }
            println!();
            let mut by = std::collections::BTreeMap::new();
            for (s, b) in &sum.broken {
                by.entry(b.promise).or_insert(vec![]).push((*s, b.how.clone()));
            }
            for (p, v) in by {
                println!("{p}: {} e.g. {:?}", v.len(), &v[..v.len().min(3)]);
            }
        }
        "replay" => {
            let s: u64 = a[2].parse().unwrap();
            let r =
                run(sexton_sim::sweep::entropy(s, 1536), Options { trace: true, saboteur: None });
            for l in r.trace {
                println!("{l}");
            }
        }
        "bugs" => {
            for s in Saboteur::ALL {
                let sum = Sweep {
                    seeds: 0..1000,
                    size: 1536,
                    jobs: 2,
                    options: Options { saboteur: Some(*s), trace: false },
                    stop_early: false,
                }
                .run(|_| true);
                let mut by = std::collections::BTreeMap::new();
                for (seed, b) in &sum.broken {
                    let e = by.entry(b.promise).or_insert((0, *seed));
                    e.0 += 1;
                }
                println!("{:40} {:?}  {:?}", s.name(), by, s.breaks());
            }
        }
        _ => {}
    }
}
