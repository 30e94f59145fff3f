use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Notify;

use super::*;
use crate::testing::api_server::ApiServer;

/// Far more patient than the test: who waits for that long has not seen that it hangs.
const PATIENCE: Duration = Duration::from_secs(600);

fn wish() -> Wish {
    Wish {
        server: ([127, 0, 0, 1], 0).into(),
        interval: Duration::from_millis(50),
        patience: PATIENCE,
    }
}

/// What is said of one that has been quick, and is ready only once it has said that it lives.
async fn said_slowly() -> bool {
    let lives = Arc::new(Notify::new());
    let api = ApiServer::start_with(move |asked| match asked.path.as_str() {
        "/version" => {
            lives.notify_one();
            (200, stream::iter([Bytes::from("ok")]).boxed())
        }
        _ => {
            let lives = Arc::clone(&lives);
            let late = async move {
                lives.notified().await;
                Bytes::from("ok")
            };
            (200, stream::once(late).boxed())
        }
    })
    .await;
    let mut pace = Pace(Duration::from_millis(5));
    let (wish, mut client) = (wish(), Some(api.client()));
    let doubt = pace.doubt(&wish);
    let asked = ready(&wish, &mut client, (&mut pace, doubt));
    let said = timeout(Duration::from_secs(60), asked).await.unwrap();
    assert_eq!(api.asked(), ["GET /readyz", "GET /version"]);
    said
}

#[tokio::test]
async fn one_that_is_slow_to_be_ready_is_told_from_one_that_hangs() {
    // Ready once it was asked whether it lives, which is too late for one that does not say so.
    assert!(said_slowly().await);

    // Accepts connections, and never says a word.
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = ApiServer::start(|_| (200, serde_json::Value::Null)).await;
    let client = api.client_at(hangs.local_addr().unwrap().port());
    let (mut kept, mut pace) = (Some(client), Pace(Duration::from_millis(5)));
    let wish = wish();
    let doubt = pace.doubt(&wish);
    let asked = ready(&wish, &mut kept, (&mut pace, doubt));
    assert!(!timeout(Duration::from_secs(60), asked).await.unwrap());
    assert!(kept.is_none());
    // What was never answered says nothing of its pace.
    assert_eq!(pace.0, Duration::from_millis(5));
}

#[tokio::test]
async fn who_is_not_there_says_nothing_of_its_pace() {
    let api = ApiServer::start(|_| (200, serde_json::Value::Null)).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let (wish, mut pace) = (wish(), Pace::new(PATIENCE));
    let before = pace.0;
    for _ in 0..10 {
        let mut kept = Some(api.client_at(port));
        assert!(!ready(&wish, &mut kept, (&mut pace, wish.patience)).await);
    }
    assert_eq!(pace.0, before);
}

#[test]
fn doubt_follows_how_long_answers_take_here() {
    let wish = Wish {
        interval: Duration::from_millis(100),
        patience: Duration::from_secs(1),
        ..wish()
    };
    let mut pace = Pace::new(wish.patience);
    assert_eq!(pace.doubt(&wish), wish.patience, "nothing is known yet");
    for _ in 0..100 {
        pace.took(Duration::from_millis(4));
    }
    assert_eq!(pace.doubt(&wish), wish.interval * 2);
    pace.took(Duration::from_millis(80));
    assert_eq!(pace.doubt(&wish), Duration::from_millis(640));
    pace.took(Duration::from_secs(3));
    assert_eq!(pace.doubt(&wish), wish.patience);
}
