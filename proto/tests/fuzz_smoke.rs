//! Runs every file of the fuzz corpus through its target's property, without a fuzzer: what fuzzing once found stays
//! found. How to fuzz is in `proto/fuzz/README.md`.

#[path = "../fuzz/src/lib.rs"]
mod bodies;

use std::{fs, path::Path};

#[test]
fn the_corpus_breaks_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, body) in bodies::TARGETS {
        let files =
            fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("corpus of {name}: {error}"));
        let mut ran = 0;
        for file in files {
            let path = file.unwrap().path();
            let input = fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| body(&input));
            assert!(outcome.is_ok(), "{} breaks {name}", path.display());
            ran += 1;
        }
        assert!(ran > 0, "no corpus for {name}");
    }
}

/// Cuts every hand-written corpus file short at each length and changes single bytes: cheap neighbours of inputs
/// somebody found interesting. (What the fuzzer wrote has a hash for a name, and is a neighbour already.)
#[test]
fn neighbours_of_the_corpus_break_nothing() {
    const FILE_BYTES_MAX: usize = 600;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, body) in bodies::TARGETS {
        for file in fs::read_dir(corpus.join(name)).unwrap() {
            let path = file.unwrap().path();
            let file_name = path.file_name().unwrap().to_string_lossy();
            if file_name.len() == 40 && file_name.bytes().all(|b| b.is_ascii_hexdigit()) {
                continue;
            }
            let input = fs::read(&path).unwrap();
            for at in 0..input.len().min(FILE_BYTES_MAX) {
                let mut changed = input.clone();
                changed[at] ^= 1 << (at % 8);
                let outcome = std::panic::catch_unwind(|| {
                    body(&input[..at]);
                    body(&changed);
                });
                assert!(
                    outcome.is_ok(),
                    "{} breaks {name} when cut or changed at {at}",
                    path.display()
                );
            }
        }
    }
}
