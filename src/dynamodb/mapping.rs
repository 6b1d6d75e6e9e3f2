//! Items from structures and back, by way of JSON values, so that a structure's code exists once and
//! not for every kind of attribute: that made the package 69 KB smaller.

use std::collections::HashMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_dynamo::{AttributeValue, Item};
use serde_json::Value;

/// A structure does not map to an item, or an item not to it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct MappingError(String);

impl MappingError {
    fn new(cause: &impl ToString) -> Self {
        Self(cause.to_string())
    }
}

/// The item of a structure; binary attributes have to be added.
///
/// # Errors
///
/// When it is no object of JSON values.
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
/// When it is no JSON value.
pub fn to_attribute(structure: &impl Serialize) -> Result<AttributeValue, MappingError> {
    let value = serde_json::to_value(structure).map_err(|error| MappingError::new(&error))?;
    serde_dynamo::to_attribute_value(value).map_err(|error| MappingError::new(&error))
}

/// The structure in an item, whose binary attributes must have been taken out.
///
/// # Errors
///
/// When the item is none.
pub fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, MappingError> {
    let value: Value = serde_dynamo::from_item(item).map_err(|error| MappingError::new(&error))?;
    serde_json::from_value(value).map_err(|error| MappingError::new(&error))
}
