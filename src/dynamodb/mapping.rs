//! Items from structures and back, by way of JSON values, so that the code of a structure exists
//! once and not for every kind of attribute. That made the package 69 KB smaller.

use std::collections::HashMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_dynamo::{AttributeValue, Item};
use serde_json::Value;

/// A structure cannot be mapped to an item, or an item to a structure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct MappingError(String);

impl MappingError {
    fn new(cause: &impl ToString) -> Self {
        Self(cause.to_string())
    }
}

/// The item of a structure. Binary attributes must be added afterwards.
///
/// # Errors
///
/// When it does not serialize to a JSON object.
pub fn to_item(structure: &impl Serialize) -> Result<Item, MappingError> {
    let value = serde_json::to_value(structure).map_err(|error| MappingError::new(&error))?;
    let attributes: HashMap<String, AttributeValue> =
        serde_dynamo::to_item(value).map_err(|error| MappingError::new(&error))?;
    Ok(Item::from(attributes))
}

/// The attribute of a structure.
///
/// # Errors
///
/// When it does not serialize to JSON.
pub fn to_attribute(structure: &impl Serialize) -> Result<AttributeValue, MappingError> {
    let value = serde_json::to_value(structure).map_err(|error| MappingError::new(&error))?;
    serde_dynamo::to_attribute_value(value).map_err(|error| MappingError::new(&error))
}

/// The structure in an item. Binary attributes must be removed before.
///
/// # Errors
///
/// When the item does not have the attributes and types of the structure.
pub fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, MappingError> {
    let value: Value = serde_dynamo::from_item(item).map_err(|error| MappingError::new(&error))?;
    serde_json::from_value(value).map_err(|error| MappingError::new(&error))
}
