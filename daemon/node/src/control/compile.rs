//! From the bytes of a `define` to a machine that can be pushed, or to the reply that says why not; from what another member pushed
//! to the machine.

use std::sync::Arc;

use statemesh_engine::{Diagnostic, Durability, Machine, Value};
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::peer::body::Body;
use statemesh_protocol::peer::definition::{Definition, DefinitionHash};
use statemesh_protocol::place::Tier;
use statemesh_protocol::reply::{Encoding, MapWriter, write_error};
use statemesh_protocol::request::{Refusal, Request};

use statemesh_shard::write_value;

use crate::volume::{conflict, first_error};

/// A whole reply, and the error that it tells.
pub(super) type Reply = (Vec<u8>, Option<ErrorCode>);

/// A definition that compiles.
#[derive(Debug)]
pub(super) struct Good {
    pub(super) machine: Arc<Machine>,
    pub(super) warnings: Vec<Diagnostic>,
    /// The tier that was asked for beside the document.
    pub(super) asked: Option<Tier>,
}

/// Compiles the definition of a request; the error is the whole reply.
pub(super) fn compile(request: &Request<'_>, shared: &crate::shared::Shared) -> Result<Good, Reply> {
    let fail = |message: &str, diagnostics: &[Diagnostic]| {
        let mut reply = Vec::new();
        let mut map = MapWriter::new(&mut reply, request.encoding);
        if let Some(id) = request.id {
            map.raw("id", id);
        }
        map.bool("ok", false).map("error", |error| {
            error
                .str("code", ErrorCode::InvalidDefinition.as_str())
                .str("message", message)
                .str("hint", "`statemesh check FILE` shows the lines");
            error.list("diagnostics", diagnostics.iter(), |out, encoding, diagnostic| {
                write_value(out, encoding, &diagnostic.to_value());
            });
        });
        map.end();
        (reply, Some(ErrorCode::InvalidDefinition))
    };
    let refuse = |refusal: Refusal<'_>| {
        let mut reply = Vec::new();
        write_error(&mut reply, request.encoding, refusal.id, refusal.code, &refusal.message, refusal.hint);
        (reply, Some(refusal.code))
    };
    let asked = asked_durability(request).map_err(refuse)?;
    let given = request.define.definition.unwrap_or_default();
    let json = match request.encoding {
        Encoding::Json => given.to_vec(),
        Encoding::MsgPack => {
            let limits = statemesh_expr::Limits::default();
            let value = statemesh_expr::Value::from_msgpack(given, &limits).map_err(|e| fail(&e.to_string(), &[]))?;
            let mut json = Vec::new();
            value.to_json(&mut json);
            json
        }
    };
    let table = shared.machines.table();
    let resolve = |name: &str| table.by_name(name).map(|version| Arc::clone(&version.machine));
    match Machine::compile(&json, &shared.options.limits.of_engine(), &resolve) {
        Ok(compiled) => match conflict(&compiled.machine, asked) {
            None => Ok(Good { machine: compiled.machine, warnings: compiled.warnings, asked }),
            Some((document, asked)) => {
                let (asked, document) = (asked.as_str(), document.as_str());
                let message = format!("options.durability is \"{asked}\", and the definition says \"{document}\"");
                Err(refuse(Refusal::new(request.id, ErrorCode::WrongType, message, "say it in one of the two")))
            }
        },
        Err(diagnostics) => Err(fail(&first_error(&diagnostics), &diagnostics)),
    }
}

/// Why a version that another member has does not compile here.
#[derive(Debug)]
pub(super) struct WhyNot {
    /// For a person.
    pub(super) reason: String,
    /// A version that it names and that is not here: with that it may. Without, it never does.
    pub(super) lacks: Option<DefinitionHash>,
}

impl WhyNot {
    fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), lacks: None }
    }

    /// The compiler panicked.
    pub(super) fn fault() -> Self {
        Self::for_good("the compiler failed")
    }
}

/// Compiles what another member compiled, with the same versions of the machines that it names.
///
/// # Errors
/// Why it does not compile here; as long as a machine that it names is not here it does not.
pub(super) fn compile_received(
    definition: &Definition,
    shared: &crate::shared::Shared,
) -> Result<Arc<Machine>, WhyNot> {
    let body = Body::decode(&definition.body).map_err(|error| WhyNot::for_good(error.to_string()))?;
    let table = shared.machines.table();
    if let Some((name, hash)) = body.children().find(|(_, hash)| table.by_hash(hash).is_none()) {
        return Err(WhyNot {
            reason: format!("it names a version of machine \"{name}\" that is not here"),
            lacks: Some(*hash),
        });
    }
    let resolve = |name: &str| Some(Arc::clone(&table.by_hash(body.child(name)?)?.machine));
    let compiled = Machine::compile(body.source, &shared.options.limits.of_engine(), &resolve);
    let machine = compiled.map_err(|diagnostics| WhyNot::for_good(first_error(&diagnostics)))?.machine;
    if machine.durability() == Some(Durability::Disk) {
        return Err(WhyNot::for_good("durability \"disk\" is kept by a daemon that is alone, and this one is not"));
    }
    if *machine.hash() != definition.hash || machine.id() != definition.machine {
        return Err(WhyNot::for_good("it compiles to another machine here: do all daemons run the same release?"));
    }
    Ok(machine)
}

/// The tier that a request asks for beside its document.
fn asked_durability<'a>(request: &Request<'a>) -> Result<Option<Tier>, Refusal<'a>> {
    let Some(options) = request.define.options else {
        return Ok(None);
    };
    let limits = statemesh_expr::Limits::default();
    let value = match request.encoding {
        Encoding::Json => Value::from_json(options, &limits),
        Encoding::MsgPack => Value::from_msgpack(options, &limits),
    };
    let refuse = |code, message: String, hint| Err(Refusal::new(request.id, code, message, hint));
    let Some(map) = value.as_ref().ok().and_then(Value::as_map) else {
        return refuse(ErrorCode::WrongType, "\"options\" must be a map".into(), "e.g. {\"durability\":\"memory\"}");
    };
    if let Some((unknown, _)) = map.iter().find(|(name, _)| *name != "durability") {
        let message = format!("options.{unknown} is unknown");
        return refuse(ErrorCode::WrongType, message, "there is only options.durability: did you mean that?");
    }
    match map.get("durability") {
        None => Ok(None),
        Some(Value::Str(durability)) if durability == "memory" => Ok(Some(Tier::Memory)),
        Some(Value::Str(durability)) if durability == "disk" => Ok(Some(Tier::Disk)),
        Some(Value::Str(durability)) if durability == "replicated" => refuse(
            ErrorCode::Unsupported,
            "options.durability \"replicated\": this version keeps instances in memory, or on one daemon's disk".into(),
            "say \"disk\" or \"memory\"",
        ),
        Some(_) => refuse(
            ErrorCode::WrongType,
            "options.durability must be \"memory\", \"disk\" or \"replicated\"".into(),
            "leave it out, or say \"memory\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_there_is_not_is_refused() {
        let asked = |options: &str| {
            let text = format!(r#"{{"op":"define","id":1,"definition":{{}},"options":{options}}}"#);
            let request = Request::parse(text.as_bytes(), Encoding::Json).unwrap();
            asked_durability(&request).map_err(|refusal| (refusal.code, refusal.message, refusal.hint))
        };
        assert_eq!(asked(r#"{"durability":"disk"}"#), Ok(Some(Tier::Disk)));
        let (code, message, hint) = asked(r#"{"durabilty":"disk"}"#).unwrap_err();
        assert_eq!((code, message.as_str()), (ErrorCode::WrongType, "options.durabilty is unknown"));
        assert!(hint.contains("did you mean"), "{hint}");
    }
}
