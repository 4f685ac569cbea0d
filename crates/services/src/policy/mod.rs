//! Policy documents: their grammar ([`Document::parse`]) and what a document says of one request
//! ([`Document::decide`]).

mod condition;
mod decide;
mod document;
mod json;

pub(crate) use decide::{Decision, Keys, Request, Who};
pub(crate) use document::{Document, Kind, Principal};
