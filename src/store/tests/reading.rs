//! What readers keep from each other, and what they read.

use std::sync::mpsc;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_one_thing_does_not_wait_for_lists() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (minted, _) = mint(&store).await;
    let new = key("ann");
    let digest = new.digest;
    store.mint_key(act(), new).await.unwrap();
    let (began, begun) = mpsc::channel();
    let mut lists = JoinSet::new();
    let ends: Vec<_> = (0..LISTS)
        .map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            let (store, began) = (store.clone(), began.clone());
            let list = move |_: &Connection| {
                began.send(()).unwrap();
                let _ = ended.recv();
                Ok(())
            };
            lists.spawn(async move { store.0.lists.read(list).await });
            end
        })
        .collect();
    ends.iter().for_each(|_| begun.recv().unwrap());
    assert!(store.key_by_digest(digest).await.unwrap().is_some());
    assert!(store.token(minted.id).await.unwrap().is_some());
    assert_eq!(store.count_ending(Timestamp::now(), Timestamp::now()).await.unwrap(), 0);
    drop(ends);
    lists.join_all().await.into_iter().for_each(Result::unwrap);
}

#[tokio::test]
async fn a_look_ahead_reads_only_what_it_shows() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    for _ in 0..3 {
        mint(&store).await;
    }
    let (shown, _) = mint(&store).await;
    let unreadable = "UPDATE tokens SET label = char(10) WHERE id < ?";
    Connection::open(&path).unwrap().execute(unreadable, [shown.id.to_string()]).unwrap();
    let filter = ProspectFilter {
        app: AppName::parse("shop").unwrap(),
        environment: EnvironmentName::parse("production").unwrap(),
        id: DeploymentId::parse("blue").unwrap(),
        owner: None,
        now: Timestamp::now(),
        ending: 1,
        living: 1,
    };
    let ended = store.prospect(filter).await.unwrap().would_end;
    assert_eq!((ended.count, ended.tokens[0].id, ended.tokens.len()), (4, shown.id, 1));
}

#[tokio::test]
async fn a_look_ahead_counts_what_lives_then_wherever_the_clock_stands() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let start = Timestamp::now();
    let after = |minutes: i64| start + minutes.minutes();
    for (minutes, on_publish) in
        [(10, OnPublish::Stop), (20, OnPublish::Keep), (30, OnPublish::Stop), (40, OnPublish::Stop)]
    {
        let new = NewToken { expires_at: Some(after(minutes)), on_publish, ..token() };
        store.mint_token(act(), new, Limits::default()).await.unwrap();
    }
    let counts = async |minutes: i64, id: &str| {
        let filter = ProspectFilter {
            app: AppName::parse("shop").unwrap(),
            environment: EnvironmentName::parse("production").unwrap(),
            id: DeploymentId::parse(id).unwrap(),
            owner: None,
            now: after(minutes),
            ending: 10,
            living: 10,
        };
        let Prospect { would_end, would_keep } = store.prospect(filter).await.unwrap();
        assert_eq!(
            (would_end.count, would_keep.count),
            (would_end.tokens.len() as u64, would_keep.tokens.len() as u64)
        );
        (would_end.count, would_keep.count)
    };
    let at_all_times = async || {
        [
            counts(0, "blue").await,
            counts(15, "blue").await,
            counts(25, "blue").await,
            counts(25, "initial").await,
        ]
    };
    let expected = [(3, 1), (2, 1), (2, 0), (0, 2)];
    assert_eq!(at_all_times().await, expected);
    // The counts that are kept go by the writer's clock, ahead of some of those times and behind others.
    let act = Act { at: after(22), ..act() };
    let limits = Limits { in_all: 10, ..Limits::default() };
    let gone = NewToken { expires_at: Some(start), ..token() };
    store.mint_token(act, gone, limits).await.unwrap();
    assert_eq!(at_all_times().await, expected);
}

#[tokio::test]
async fn a_copy_lists_tokens_in_the_same_order() {
    let (folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let mut minted = Vec::new();
    for _ in 0..9 {
        minted.push(mint(&store).await.0.id);
    }
    for gone in [8, 4, 0] {
        store.delete_token(act(), minted.remove(gone), Outlets::default()).await.unwrap();
    }
    minted.push(mint(&store).await.0.id);
    minted.reverse();
    let backup = store.backup(act()).await.unwrap().unwrap();
    let copy = folder.path().join("copy.db");
    fs::copy(backup.path(), &copy).unwrap();
    let copy = Store::open(&copy).unwrap();
    minted.insert(0, mint(&copy).await.0.id);
    let listed = copy.tokens(every()).await.unwrap();
    assert!(listed.iter().map(|token| token.id).eq(minted));
}

#[test]
fn counts_of_leaks_and_notices_read_no_row() {
    let (_folder, path) = fresh();
    let _store = Store::open(&path).unwrap();
    let conn = Connection::open(&path).unwrap();
    for question in [
        "SELECT event, count(*), count(dead_at) FROM outbox GROUP BY event",
        "SELECT kind, count(*) AS count FROM leaks GROUP BY kind",
    ] {
        let plan: String =
            conn.query_row(&format!("EXPLAIN QUERY PLAN {question}"), [], |row| row.get("detail")).unwrap();
        assert!(plan.contains("COVERING INDEX"), "{plan}");
    }
}
