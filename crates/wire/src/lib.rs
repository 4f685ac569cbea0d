//! Everything between a TCP listener and [`lambkin_model::ServiceHandler::call`].
//!
//! A request passes, in this order: choice of service and operation (`route`), size limit, signature
//! ([`sigv4`]), decoding (`codec`), validation by the model's constraints, the handler, encoding. Every
//! refusal on the way is written in the protocol of the service that was meant, with the code, status and
//! text of AWS, because SDKs branch on them.
//!
//! Invariants:
//! - The body of an `Invoke` is handed through as the [`bytes::Bytes`] that arrived: never parsed or copied.
//! - Nothing is decoded before its signature is verified, and nothing is buffered beyond the limit of its
//!   operation.
//! - A call that a handler has begun runs to its end even if the client hangs up.

pub mod front;
pub mod limits;
pub mod serve;
pub mod sigv4;
pub mod tls;

mod body;
mod codec;
mod reply;
mod route;
mod share;
mod uri;

pub use front::{Front, FrontConfig, InternalRoutes, Mode, Now, Scheme};
pub use limits::Limits;
pub use reply::ResponseBody;
pub use serve::{ServeOptions, serve, serve_connection};
pub use share::Share;
pub use sigv4::{Authenticator, Lookup, Secret};
pub use tls::{Tls, TlsError};
