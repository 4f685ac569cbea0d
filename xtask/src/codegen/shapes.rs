//! What a service's operations reach, and what each shape is called in Rust.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

use super::ServiceEntry;
use super::load::{Model, Operation, Shape, ShapeRef};
use super::names;

/// A shape in the schema table: traits given where a shape is used make a variant of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShapeKey {
    pub(crate) name: String,
    pub(crate) flattened: bool,
    pub(crate) streaming: bool,
}

impl ShapeKey {
    pub(crate) fn of(reference: &ShapeRef) -> Self {
        Self { name: reference.shape.clone(), flattened: reference.flattened, streaming: reference.streaming }
    }
}

/// A model with what all renderers need to know about it.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) entry: &'a ServiceEntry,
    pub(crate) model: &'a Model,
    /// Every shape that some operation uses, with its id.
    pub(crate) ids: BTreeMap<ShapeKey, u16>,
    /// Structures that get a Rust type: shape name to type name.
    types: BTreeMap<String, String>,
    /// Inputs and outputs of typed operations.
    inputs: BTreeSet<String>,
    outputs: BTreeSet<String>,
    /// For a structure, the structures it holds directly (not in a list or map) and that hold it again.
    cycles: BTreeSet<(String, String)>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(entry: &'a ServiceEntry, model: &'a Model) -> Result<Self> {
        for name in entry.operations.unwrap_or_default() {
            ensure!(model.operations.contains_key(*name), "there is no operation {name}");
        }
        let mut source = Self {
            entry,
            model,
            ids: BTreeMap::new(),
            types: BTreeMap::new(),
            inputs: BTreeSet::new(),
            outputs: BTreeSet::new(),
            cycles: BTreeSet::new(),
        };
        source.number_shapes()?;
        source.collect_types()?;
        source.find_cycles()?;
        Ok(source)
    }

    /// Id of the shape behind a reference.
    pub(crate) fn id(&self, reference: &ShapeRef) -> Result<u16> {
        let key = ShapeKey::of(reference);
        self.ids.get(&key).copied().with_context(|| format!("shape {} was not numbered", key.name))
    }

    /// Operations with types and a trait method.
    pub(crate) fn typed_operations(&self) -> impl Iterator<Item = (&'a String, &'a Operation)> + use<'a> {
        let listed = self.entry.operations;
        self.model
            .operations
            .iter()
            .filter(move |(name, _)| listed.is_none_or(|listed| listed.contains(&name.as_str())))
    }

    /// Structures with a Rust type, as `(shape name, type name)`.
    pub(crate) fn typed_structures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.types.iter().map(|(shape, name)| (shape.as_str(), name.as_str()))
    }

    /// Rust type name of a structure.
    pub(crate) fn type_name(&self, shape: &str) -> Result<&str> {
        self.types.get(shape).map(String::as_str).with_context(|| format!("structure {shape} has no type"))
    }

    pub(crate) fn is_input(&self, shape: &str) -> bool {
        self.inputs.contains(shape)
    }

    pub(crate) fn is_output(&self, shape: &str) -> bool {
        self.outputs.contains(shape)
    }

    /// Whether a direct field of `structure` with type `member` needs a box.
    pub(crate) fn needs_box(&self, structure: &str, member: &str) -> bool {
        self.cycles.contains(&(structure.to_owned(), member.to_owned()))
    }

    /// The member of a structure that travels as raw bytes: a payload that is a blob.
    pub(crate) fn raw_payload(&self, structure: &'a Shape) -> Result<Option<&'a str>> {
        let Some(payload) = &structure.payload else { return Ok(None) };
        let member = structure.members.iter().find(|(name, _)| name == payload);
        let Some((name, reference)) = member else { return Ok(None) };
        Ok((self.model.shape(&reference.shape)?.kind == "blob").then_some(name))
    }

    /// The member of a structure that is an event stream.
    pub(crate) fn events(&self, structure: &'a Shape) -> Result<Option<&'a str>> {
        for (name, reference) in &structure.members {
            if self.model.shape(&reference.shape)?.eventstream {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn number_shapes(&mut self) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<ShapeKey> = Vec::new();
        for operation in self.model.operations.values() {
            open.extend(operation.input.iter().chain(&operation.output).map(ShapeKey::of));
            open.extend(operation.errors.iter().map(ShapeKey::of));
        }
        while let Some(key) = open.pop() {
            if !seen.insert(key.clone()) {
                continue;
            }
            open.extend(references(self.model.shape(&key.name)?).map(ShapeKey::of));
        }
        for (index, key) in seen.into_iter().enumerate() {
            self.ids.insert(key, u16::try_from(index).context("more than 65536 shapes")?);
        }
        Ok(())
    }

    fn collect_types(&mut self) -> Result<()> {
        let mut open = Vec::new();
        for (_, operation) in self.typed_operations() {
            if let Some(input) = &operation.input {
                open.push(input.shape.clone());
                self.inputs.insert(input.shape.clone());
            }
            if let Some(output) = &operation.output {
                open.push(output.shape.clone());
                self.outputs.insert(output.shape.clone());
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let shape = self.model.shape(&name)?;
            // The events of an event stream are framed from the schema, not from types.
            if shape.eventstream {
                continue;
            }
            open.extend(references(shape).map(|reference| reference.shape.clone()));
            if shape.kind == "structure" && !shape.document {
                let rust = names::type_name(&name, &[self.entry.trait_name]);
                if let Some(other) = self.types.iter().find(|(_, taken)| **taken == rust) {
                    bail!("shapes {name} and {} are both {rust} in Rust", other.0);
                }
                self.types.insert(name, rust);
            }
        }
        Ok(())
    }

    fn find_cycles(&mut self) -> Result<()> {
        let mut holds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for shape in self.types.keys() {
            let direct = self.model.shape(shape)?.members.iter().map(|(_, member)| member.shape.as_str());
            holds.insert(shape, direct.filter(|member| self.types.contains_key(*member)).collect());
        }
        let mut cycles = BTreeSet::new();
        for (shape, members) in &holds {
            for member in members {
                let mut open = vec![*member];
                let mut seen = BTreeSet::new();
                while let Some(name) = open.pop() {
                    if seen.insert(name) {
                        open.extend(holds.get(name).into_iter().flatten());
                    }
                }
                if seen.contains(shape) {
                    cycles.insert(((*shape).to_owned(), (*member).to_owned()));
                }
            }
        }
        self.cycles = cycles;
        Ok(())
    }
}

/// All references from a shape to others.
fn references(shape: &Shape) -> impl Iterator<Item = &ShapeRef> {
    shape.members.iter().map(|(_, member)| member).chain(&shape.member).chain(&shape.key).chain(&shape.value)
}
