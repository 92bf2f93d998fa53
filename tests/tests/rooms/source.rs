//! What the source files of a crate define, hand on and use, as far as the compiler's text tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

/// A path of modules and a name at its end, from the crate on: `["crate", "log", "Offset"]`.
pub type Name = Vec<String>;

/// A source file: one module, with those that are written inside of it.
#[derive(Debug, Default)]
pub struct File {
    /// Where it lies, from the repository's root on.
    pub path: PathBuf,
    /// Modules of it that are files of their own.
    pub children: BTreeSet<String>,
    /// What it defines.
    pub defines: BTreeSet<String>,
    /// Names that it hands on, with what they are.
    pub hands_on: BTreeMap<String, Name>,
    /// Modules all of whose names it hands on.
    pub hands_on_all: Vec<Name>,
    /// What it uses of its crate.
    pub uses: BTreeSet<Name>,
}

/// The files of a crate by their modules; what is compiled for tests alone is left out.
pub fn files(root: &Path, lib: &Path) -> BTreeMap<Name, File> {
    let mut files = BTreeMap::new();
    let mut open = vec![(vec!["crate".to_owned()], lib.to_owned())];
    while let Some((module, path)) = open.pop() {
        let text = std::fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let mut reader = Reader { module: module.clone(), file: File { path: path.clone(), ..File::default() } };
        reader.define(&parsed.items, true);
        reader.visit_file(&parsed);
        open.extend(reader.file.children.iter().map(|child| {
            let child_module = [&module[..], std::slice::from_ref(child)].concat();
            (child_module, file_of(root, &path, child))
        }));
        files.insert(module, reader.file);
    }
    files
}

/// Where a module lies that a file declares.
fn file_of(root: &Path, declared_in: &Path, module: &str) -> PathBuf {
    let folder = declared_in.parent().expect("a file lies in a folder");
    let stem = declared_in.file_stem().and_then(|stem| stem.to_str()).expect("sources have plain names");
    let folder = if ["lib", "main", "mod"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
    let flat = folder.join(format!("{module}.rs"));
    if root.join(&flat).exists() { flat } else { folder.join(module).join("mod.rs") }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    let cfg = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    cfg.filter_map(|attribute| attribute.meta.require_list().ok()).any(|list| list.tokens.to_string() == "test")
}

/// The attributes of an item, and the name that it defines.
fn defined(item: &Item) -> (&[Attribute], Option<String>) {
    match item {
        Item::Const(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Enum(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Fn(item) => (&item.attrs, Some(item.sig.ident.to_string())),
        Item::Macro(item) => (&item.attrs, item.ident.as_ref().map(ToString::to_string)),
        Item::Static(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Struct(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Trait(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Type(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Mod(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Impl(item) => (&item.attrs, None),
        Item::Use(item) => (&item.attrs, None),
        _ => (&[], None),
    }
}

struct Reader {
    module: Name,
    file: File,
}

impl Reader {
    /// Notes what is defined, and which modules are files.
    fn define(&mut self, items: &[Item], is_outermost: bool) {
        for item in items {
            let (attributes, name) = defined(item);
            if is_for_tests(attributes) {
                continue;
            }
            match (item, name) {
                (Item::Mod(item), Some(name)) if item.content.is_none() && is_outermost => {
                    self.file.children.insert(name);
                }
                (Item::Mod(item), Some(name)) => {
                    self.file.defines.insert(name);
                    self.define(item.content.as_ref().map_or(&[], |(_, items)| items), false);
                }
                (_, Some(name)) => {
                    self.file.defines.insert(name);
                }
                (_, None) => {}
            }
        }
    }

    /// A path as it stands in the file, from the crate on; `None` when it leads elsewhere.
    fn absolute(&self, path: &[String]) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        let within = |module: &[String], rest: &[String]| Some([module, rest].concat());
        match first.as_str() {
            "crate" => Some(path.to_vec()),
            "self" => within(&self.module, rest),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let left = self.module.len().checked_sub(ups).filter(|left| *left > 0)?;
                within(&self.module[..left], &path[ups..])
            }
            child if self.file.children.contains(child) => within(&self.module, path),
            _ => None,
        }
    }

    fn take(&mut self, path: &[String]) {
        if let Some(path) = self.absolute(path) {
            self.file.uses.insert(path);
        }
    }

    fn take_tree(&mut self, tree: &UseTree, before: &mut Vec<String>, handed_on: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.take_tree(&path.tree, before, handed_on);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.take_tree(tree, before, handed_on)),
            UseTree::Name(name) => self.take_name(&name.ident.to_string(), &name.ident.to_string(), before, handed_on),
            UseTree::Rename(name) => {
                self.take_name(&name.ident.to_string(), &name.rename.to_string(), before, handed_on);
            }
            UseTree::Glob(_) => match self.absolute(before) {
                Some(module) if handed_on => self.file.hands_on_all.push(module),
                Some(module) => drop(self.file.uses.insert(module)),
                None => {}
            },
        }
    }

    fn take_name(&mut self, name: &str, known_as: &str, before: &[String], handed_on: bool) {
        let path = if name == "self" { before.to_vec() } else { [before, &[name.to_owned()]].concat() };
        let Some(path) = self.absolute(&path) else { return };
        let known_as = if known_as == "self" { before.last().map_or("", String::as_str) } else { known_as };
        // What a module takes in is there for its own children as well.
        self.file.hands_on.insert(known_as.to_owned(), path.clone());
        if !handed_on {
            self.file.uses.insert(path);
        }
    }

    /// Paths in the text of a macro's call.
    fn take_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(part) if path.is_empty() || colons == 2 => {
                    path.push(part.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
                other => {
                    self.take(&std::mem::take(&mut path));
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.take_tokens(group.stream()),
                        TokenTree::Ident(part) => path.push(part.to_string()),
                        _ => {}
                    }
                }
            }
        }
        self.take(&path);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(defined(item).0) {
            return;
        }
        if let Item::Mod(module) = item
            && module.content.is_some()
        {
            self.module.push(module.ident.to_string());
            visit::visit_item(self, item);
            self.module.pop();
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // A name that others are given is no use of it.
        let handed_on = !matches!(item.vis, Visibility::Inherited);
        self.take_tree(&item.tree, &mut Vec::new(), handed_on);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 {
            self.take(&parts);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.take_tokens(call.tokens.clone());
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}
