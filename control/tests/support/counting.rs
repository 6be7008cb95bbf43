//! Processes and descriptors, from `/proc`: a test that starts a thousand of something can see what is left.

use std::fs;

/// All processes below `root`, children of children included, as (id, command name).
pub fn descendants(root: u32) -> Vec<(u32, String)> {
    let mut parents: Vec<(u32, u32, String)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // `pid (name) state ppid …`; the name may hold spaces and parentheses, so the last one ends it.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else {
            continue;
        };
        let Some(parent) = stat[close + 1..]
            .split_whitespace()
            .nth(1)
            .and_then(|field| field.parse::<u32>().ok())
        else {
            continue;
        };
        parents.push((id, parent, stat[open + 1..close].to_owned()));
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for (id, _, name) in parents.iter().filter(|(_, of, _)| *of == parent) {
            found.push((*id, name.clone()));
            open.push(*id);
        }
    }
    found
}

/// How many descriptors a process has open.
pub fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, |entries| entries.count())
}
