//! A legacy HTTP+SSE server behind the bridge.

use crate::support::*;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, sync::mpsc};

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Stream = mpsc::UnboundedSender<String>;

/// A server of revision 2024-11-05 on loopback: one stream at a time, told where to POST by `endpoint`.
#[derive(Clone)]
struct Remote {
    endpoint: &'static str,
    stream: Arc<Mutex<Option<Stream>>>,
}

impl Remote {
    async fn start(endpoint: &'static str) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let url = format!(
            "http://{}/base/sse?key=1",
            listener.local_addr().expect("address")
        );
        let remote = Self {
            endpoint,
            stream: Arc::default(),
        };
        let accepting = remote.clone();
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                let remote = accepting.clone();
                let service = service_fn(move |request| {
                    let remote = remote.clone();
                    async move { Ok::<_, Infallible>(remote.respond(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(io), service));
            }
        });
        (remote, url)
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let allowed = request.headers().get("x-token").is_some_and(|t| t == "t");
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let reply =
            |status: u16, body: Body| Response::builder().status(status).body(body).expect("response");
        match (method, path.as_str(), allowed) {
            (_, _, false) => reply(401, Full::default().boxed_unsync()),
            (Method::GET, "/base/sse", _) => {
                let (events, next) = mpsc::unbounded_channel();
                events
                    .send(format!(
                        ": hello\r\n\r\nevent: endpoint\r\ndata: {}\r\n\r\n",
                        self.endpoint
                    ))
                    .expect("open");
                *self.stream.lock().expect("stream") = Some(events);
                let frames = stream::unfold(next, |mut next| async {
                    let event: String = next.recv().await?;
                    Some((Ok(Frame::data(Bytes::from(event))), next))
                });
                let mut response = reply(200, StreamBody::new(frames).boxed_unsync());
                response
                    .headers_mut()
                    .insert("content-type", "text/event-stream".parse().expect("type"));
                response
            }
            (Method::POST, "/base/message", _) => {
                let doc = request.into_body().collect().await.expect("body").to_bytes();
                self.message(serde_json::from_slice(&doc).expect("message"));
                reply(202, Full::default().boxed_unsync())
            }
            _ => reply(404, Full::default().boxed_unsync()),
        }
    }

    fn message(&self, message: Value) {
        let id = &message["id"];
        let result = match message["method"].as_str().expect("method") {
            "initialize" => {
                json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {"name": "old", "version": "1"}})
            }
            "tools/call" if message["params"]["name"] == "cut" => {
                *self.stream.lock().expect("stream") = None;
                return;
            }
            "tools/call" => {
                let params =
                    json!({"progressToken": message["params"]["_meta"]["progressToken"], "progress": 1});
                self.send(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
                json!({"content": [{"type": "text", "text": "from afar"}]})
            }
            _ => return,
        };
        self.send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    fn send(&self, message: &Value) {
        let stream = self.stream.lock().expect("stream");
        stream
            .as_ref()
            .expect("open")
            .send(format!("event: message\r\ndata: {message}\r\n\r\n"))
            .expect("open");
    }
}

fn spec(url: String) -> LocalServer {
    LocalServer::legacy_sse("old", url, vec![("x-token".to_owned(), "t".to_owned())])
}

#[tokio::test]
async fn speaks_streamable_http_for_it() {
    let (_remote, url) = Remote::start("message?session=1").await;
    let gateway = Gateway::new();
    let server = gateway.serve(spec(url)).await;
    let session = server.initialize(json!({})).await;
    assert_eq!(session.initialized["protocolVersion"], "2024-11-05");
    let call = json!({"name": "far", "_meta": {"progressToken": "p"}});
    let answer = session.request(json!("x"), "tools/call", call).await;
    assert_eq!(answer.text(), "from afar");
    assert_eq!(
        answer.events.as_ref().expect("events")[0]["params"]["progressToken"],
        "p"
    );
    // The stream breaks: the call fails, the session lives, the next call connects again.
    let cut = session.call("cut", json!({})).await;
    assert_eq!(cut.reason(), "server_ended");
    assert_eq!(session.call("far", json!({})).await.text(), "from afar");
    gateway.stop().await;
}

#[tokio::test]
async fn does_not_follow_an_endpoint_elsewhere() {
    let (_remote, url) = Remote::start("http://192.0.2.1/message").await;
    let gateway = Gateway::new();
    let server = gateway.serve(spec(url)).await;
    let refused = server
        .post(
            vec![],
            &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}),
        )
        .await;
    assert_eq!(refused.status, 503);
    let text = refused.message["error"]["message"].as_str().expect("text");
    assert!(text.contains("another origin"), "{text}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_posted_is_answered() {
    let (_remote, url) = Remote::start("/nowhere").await;
    let gateway = Gateway::new();
    let server = gateway.serve(spec(url)).await;
    let refused = server
        .post(
            vec![],
            &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}),
        )
        .await;
    let text = refused.message["error"]["message"].as_str().expect("text");
    assert!(text.contains("404"), "{text}");
    gateway.stop().await;
}
