//! A worker's letter box, emptied.

use super::{
    calls::{InFlight, Word},
    outbound::{self, Wire},
    shared::Letter,
    worker::Mcp,
};
use crate::io;
use std::rc::Rc;

/// Reads letters for as long as the worker lives.
pub async fn run(mcp: Rc<Mcp>, letters: async_channel::Receiver<Letter>) {
    while let Ok(letter) = letters.recv().await {
        read(&mcp, letter);
    }
}

fn read(mcp: &Rc<Mcp>, letter: Letter) {
    match letter {
        Letter::Published => mcp.refresh(),
        Letter::Draining => _ = mcp.draining.send_replace(true),
        Letter::Cancel { session, id, doc } => match mcp.calls.in_flight(session, &id) {
            Some(InFlight::Call(call)) => _ = mcp.calls.tell(call, Word::Cancel),
            Some(InFlight::Leg { server, leg }) => {
                let view = mcp.view();
                let Some(server) = view.live.snapshot.server(&server) else {
                    return;
                };
                let mcp = mcp.clone();
                io::spawn(async move {
                    // A cancellation that does not arrive is a call that runs to its end.
                    _ = outbound::post(&mcp, &view, server, Wire::Legacy(&leg), doc, false).await;
                });
            }
            None => {}
        },
        Letter::Answered { call, key, result } => {
            if !mcp.calls.tell(call, Word::Answered { key, result }) {
                tracing::debug!(call, "an answer came after its call had ended");
            }
        }
        Letter::Resume {
            call,
            responses,
            id,
            progress_token,
            frames,
        } => {
            // When the call is gone the frames' sender is dropped here, which tells the caller so.
            _ = mcp.calls.tell(
                call,
                Word::Resume {
                    responses,
                    id,
                    progress_token,
                    frames,
                },
            );
        }
        Letter::Leg { session, server, leg } => mcp.notes.put_leg(&session, &server, leg),
        Letter::LogLevel {
            session,
            level,
            pending,
        } => {
            *mcp.notes.of(&session, false).log_level.borrow_mut() = Some(level);
            drop(pending);
        }
        Letter::Watch {
            session,
            server,
            uri,
            on,
            pending,
        } => {
            let note = mcp.notes.of(&session, false);
            let watch = (server.clone(), uri);
            let changed = if on {
                note.watches.borrow_mut().insert(watch)
            } else {
                note.watches.borrow_mut().remove(&watch)
            };
            if changed {
                note.watch_changed(&server, pending);
            }
        }
        Letter::Ended(session) => mcp.notes.remove(&session),
        Letter::Stats(reply) => {
            // The scraper may have given up waiting.
            _ = reply.send(mcp.numbers());
        }
    }
}
