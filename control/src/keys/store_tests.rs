//! The store as its users see it: keys come, change and go, and nothing is lost on the way.

use super::*;

const NOW: u64 = 1_800_000_000;

fn store() -> (tempfile::TempDir, Store) {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::of(&State::open(scratch.path()).unwrap());
    (scratch, store)
}

fn new(name: &str) -> NewKey {
    NewKey {
        name: name.to_owned(),
        roles: vec!["developer".to_owned()],
        ..NewKey::default()
    }
}

#[test]
fn a_key_is_created_listed_and_revoked() {
    let (_scratch, store) = store();
    assert_eq!(store.list().unwrap(), []);
    let created = store.create(new("CI runner"), NOW).unwrap();
    assert_eq!(created.record.id, "ci-runner");
    assert_eq!(hash(created.key.expose()).unwrap(), created.record.hash);
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&created.record));
    let text = std::fs::read_to_string(&store.path).unwrap();
    assert!(
        !text.contains(created.key.expose()),
        "the key itself is nowhere on disk"
    );

    let revoked = store.revoke("ci-runner", NOW + 1).unwrap();
    assert_eq!(revoked.standing(NOW + 1), "revoked at 2027-01-15T08:00:01Z");
    assert!(matches!(
        store.revoke("ci-runner", NOW + 2),
        Err(StoreError::NotLive { .. })
    ));
    assert!(matches!(
        store.revoke("other", NOW),
        Err(StoreError::Unknown { .. })
    ));
    assert_eq!(
        store.create(new("ci runner"), NOW).unwrap().record.id,
        "ci-runner-2",
        "ids are never reused"
    );
}

#[test]
fn rotation_overlaps_and_keeps_the_rights() {
    let (_scratch, store) = store();
    store
        .create(
            NewKey {
                expires_at: Some(NOW + 500),
                ..new("ci")
            },
            NOW,
        )
        .unwrap();
    let next = store
        .rotate("ci", Duration::from_secs(60), &["ci-2".to_owned()], NOW + 10)
        .unwrap();
    assert_eq!(next.record.id, "ci-3");
    assert_eq!(next.record.rotated_from.as_deref(), Some("ci"));
    assert_eq!(next.record.roles, ["developer"]);
    assert_eq!(next.record.expires_at, Some(NOW + 500));
    assert_eq!(store.list().unwrap()[0].expires_at, Some(NOW + 70));
    assert!(matches!(
        store.rotate("ci", Duration::ZERO, &[], NOW + 100),
        Err(StoreError::NotLive { .. })
    ));
    let third = store.rotate("ci-3", Duration::ZERO, &[], NOW + 100).unwrap();
    assert_eq!(third.record.id, "ci-2");
    assert!(
        store.list().unwrap()[1].revoked_at.is_some(),
        "no overlap ends the old one at once"
    );
}

#[test]
fn writers_do_not_lose_each_others_keys() {
    let (_scratch, store) = store();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..4 {
                    store.create(new(&format!("writer {writer}")), NOW).unwrap();
                }
            });
        }
    });
    let ids: std::collections::BTreeSet<_> = store.list().unwrap().into_iter().map(|r| r.id).collect();
    assert_eq!(ids.len(), 16);
}

#[test]
fn a_damaged_store_is_reported_and_left_alone() {
    let (_scratch, store) = store();
    std::fs::write(&store.path, "{\"format\": 1, \"keys\": [{\"hash\": \"s3cret\"").unwrap();
    let error = store.create(new("x"), NOW).unwrap_err().to_string();
    assert!(error.contains("line 1") && !error.contains("s3cret"), "{error}");
    std::fs::write(&store.path, "{\"format\": 2, \"keys\": []}").unwrap();
    assert!(store.list().unwrap_err().to_string().contains("format 2"));
}

#[test]
fn what_cannot_be_is_refused() {
    let (_scratch, store) = store();
    for bad in [
        NewKey {
            name: " ".to_owned(),
            ..NewKey::default()
        },
        NewKey {
            roles: vec!["a b".to_owned()],
            ..new("x")
        },
        NewKey {
            tenant: Some(String::new()),
            ..new("x")
        },
        NewKey {
            expires_at: Some(NOW),
            ..new("x")
        },
    ] {
        assert!(store.create(bad.clone(), NOW).is_err(), "{bad:?}");
    }
    assert_eq!(store.create(new("日本"), NOW).unwrap().record.id, "key");
}

#[test]
fn old_revocations_are_forgotten() {
    let (_scratch, store) = store();
    store.create(new("a"), NOW).unwrap();
    store.revoke("a", NOW).unwrap();
    store.create(new("b"), NOW + REVOKED_KEPT_S + 1).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}
