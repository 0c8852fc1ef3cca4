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
        limit: 1,
    };
    let ended = store.prospect(filter).await.unwrap().would_end;
    assert_eq!((ended.count, ended.tokens[0].id, ended.tokens.len()), (4, shown.id, 1));
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
