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
