//! Policy documents: their grammar ([`Document::parse`]), what a document says of one request
//! ([`Document::decide`]), and the documents that are changed statement by statement ([`ResourcePolicy`]).

mod condition;
mod decide;
mod document;
mod json;
mod resource;

pub(crate) use decide::{Decision, Keys, Request, Who};
pub(crate) use document::{Document, Kind, Principal};
pub(crate) use json::Json;
pub(crate) use resource::{ResourcePolicy, principal_of};
