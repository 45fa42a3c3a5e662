//! The derive macro `Failure`: it implements `coldforge_base::Failure` for an error, and lists its codes.
//!
//! Each variant (or the struct itself) has one attribute:
//!
//! | attribute | meaning |
//! |---|---|
//! | `#[failure(refused, "E-CODE", hint = "…")]` | a kind, a code and a hint; code and hint may be left out |
//! | `#[failure(kind = EXPR, code = EXPR, codes = ["E-A", "E-B"], hint = EXPR)]` | where they depend on fields; `codes` lists every code that `EXPR` returns |
//! | `#[failure(transparent)]` | everything is asked of the inner error: the only field, or the one called `source` |
//! | `#[failure(transparent, otherwise = "…")]` | the same, with a hint where the inner error has none |
//!
//! Kinds are the variants of `coldforge_base::Kind` in snake case. Expressions see the fields by name as references; the
//! fields of a tuple are `_0`, `_1`. The place of an error is its first field called `path`, `key`, `line` or `at`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, ExprArray, ExprLit, Fields, Ident, Lit, LitStr, Meta, Result, Token,
};

/// Implements `coldforge_base::Failure`, and a constant `CODES` with every code, its kind, meaning and hint.
#[proc_macro_derive(Failure, attributes(failure))]
pub fn failure(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// The fields by which an error says where something is wrong, the best first.
const PLACES: [&str; 4] = ["path", "key", "line", "at"];

/// What a `#[failure(…)]` says.
#[derive(Default)]
struct Said {
    transparent: bool,
    kind: Option<TokenStream>,
    /// The kind, where it is a constant.
    fixed_kind: Option<Ident>,
    code: Option<TokenStream>,
    codes: Vec<LitStr>,
    hint: Option<Expr>,
    otherwise: Option<Expr>,
}

impl Parse for Said {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut said = Self::default();
        while !input.is_empty() {
            if input.peek(LitStr) {
                let code: LitStr = input.parse()?;
                said.code = Some(quote!(::core::option::Option::Some(#code)));
                said.codes.push(code);
            } else {
                said.named(input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(said)
    }
}

impl Said {
    /// Reads a kind, `transparent`, or `name = value`.
    fn named(&mut self, input: ParseStream<'_>) -> Result<()> {
        let name: Ident = input.parse()?;
        if !input.peek(Token![=]) {
            if name == "transparent" {
                self.transparent = true;
            } else {
                let kind = kind(&name)?;
                self.kind = Some(quote!(::coldforge_base::Kind::#kind));
                self.fixed_kind = Some(kind);
            }
            return Ok(());
        }
        input.parse::<Token![=]>()?;
        match name.to_string().as_str() {
            "kind" => {
                let value: Expr = input.parse()?;
                self.kind = Some(quote!(#value));
            }
            "code" => {
                let value: Expr = input.parse()?;
                self.code = Some(quote!(::core::convert::Into::<::core::option::Option<&'static str>>::into(#value)));
            }
            "codes" => {
                let list: ExprArray = input.parse()?;
                for element in list.elems {
                    match element {
                        Expr::Lit(ExprLit { lit: Lit::Str(code), .. }) => self.codes.push(code),
                        other => return Err(Error::new(other.span(), "a code is a string literal")),
                    }
                }
            }
            "hint" => self.hint = Some(input.parse()?),
            "otherwise" => self.otherwise = Some(input.parse()?),
            _ => return Err(Error::new(name.span(), "expected kind, code, codes, hint or otherwise")),
        }
        Ok(())
    }
}

/// Returns the variant of `Kind` that a word means.
fn kind(word: &Ident) -> Result<Ident> {
    let name = match word.to_string().as_str() {
        "corrupt" => "Corrupt",
        "io" => "Io",
        "limit" => "Limit",
        "not_found" => "NotFound",
        "refused" => "Refused",
        "unsupported" => "Unsupported",
        "usage" => "Usage",
        _ => return Err(Error::new(word.span(), "no kind of failure has this name")),
    };
    Ok(Ident::new(name, word.span()))
}

/// The arms and rows that one variant adds.
#[derive(Default)]
struct Parts {
    kinds: Vec<TokenStream>,
    codes: Vec<TokenStream>,
    hints: Vec<TokenStream>,
    places: Vec<TokenStream>,
    rows: Vec<TokenStream>,
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let mut parts = Parts::default();
    match &input.data {
        Data::Struct(data) => variant(&quote!(Self), &input.attrs, &data.fields, input.ident.span(), &mut parts)?,
        Data::Enum(data) => {
            for one in &data.variants {
                let name = &one.ident;
                variant(&quote!(Self::#name), &one.attrs, &one.fields, name.span(), &mut parts)?;
            }
        }
        Data::Union(_) => return Err(Error::new(input.ident.span(), "an error is a struct or an enum")),
    }
    let Parts { kinds, codes, hints, places, rows } = parts;
    let name = &input.ident;
    let (generics, types, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        impl #generics #name #types #bounds {
            /// Every code that this error can have, with its meaning.
            pub const CODES: &'static [::coldforge_base::failure::Code] = &[#(#rows),*];
        }

        #[allow(unused_imports, unused_variables, clippy::match_single_binding)]
        impl #generics ::coldforge_base::Failure for #name #types #bounds {
            fn kind(&self) -> ::coldforge_base::Kind {
                use ::coldforge_base::Failure as _;
                match self { #(#kinds)* }
            }

            fn code(&self) -> ::core::option::Option<&'static str> {
                use ::coldforge_base::Failure as _;
                match self { #(#codes)* }
            }

            fn hint(&self) -> ::core::option::Option<&'static str> {
                use ::coldforge_base::Failure as _;
                match self { #(#hints)* }
            }

            fn place(&self) -> ::core::option::Option<::std::string::String> {
                use ::coldforge_base::Failure as _;
                match self { #(#places)* }
            }
        }
    })
}

fn variant(path: &TokenStream, attrs: &[Attribute], fields: &Fields, span: Span, parts: &mut Parts) -> Result<()> {
    let attribute = attrs.iter().find(|attribute| attribute.path().is_ident("failure"));
    let said: Said =
        attribute.ok_or_else(|| Error::new(span, "this has no #[failure(…)] that says its kind"))?.parse_args()?;
    let names: Vec<Ident> = fields
        .iter()
        .enumerate()
        .map(|(at, field)| field.ident.clone().unwrap_or_else(|| format_ident!("_{at}")))
        .collect();
    let pattern = match fields {
        Fields::Named(_) => quote!(#path { #(#names),* }),
        Fields::Unnamed(_) => quote!(#path ( #(#names),* )),
        Fields::Unit => quote!(#path),
    };
    let inner = inner(&said, &names, span)?;
    let kind = match (&said.kind, &inner) {
        (Some(kind), _) => kind.clone(),
        (None, Some(inner)) => quote!(#inner.kind()),
        (None, None) => return Err(Error::new(span, "#[failure(…)] names no kind")),
    };
    let code = match (&said.code, &inner) {
        (Some(code), _) => code.clone(),
        (None, Some(inner)) => quote!(#inner.code()),
        (None, None) => quote!(::core::option::Option::None),
    };
    let hint = match (&said.hint, &inner, &said.otherwise) {
        (Some(hint), ..) => quote!(::core::convert::Into::<::core::option::Option<&'static str>>::into(#hint)),
        (None, Some(inner), Some(otherwise)) => {
            quote!(#inner.hint().or(::core::option::Option::Some(#otherwise)))
        }
        (None, Some(inner), None) => quote!(#inner.hint()),
        (None, None, _) => quote!(::core::option::Option::None),
    };
    let own = PLACES.iter().find_map(|place| names.iter().find(|name| *name == place));
    let place = match (own, &inner) {
        (Some(line), _) if line == "line" => quote!(::core::option::Option::Some(::std::format!("line {line}"))),
        (Some(own), _) => quote!(::coldforge_base::failure::Place::place(#own)),
        (None, Some(inner)) => quote!(#inner.place()),
        (None, None) => quote!(::core::option::Option::None),
    };
    parts.kinds.push(quote!(#pattern => #kind,));
    parts.codes.push(quote!(#pattern => #code,));
    parts.hints.push(quote!(#pattern => #hint,));
    parts.places.push(quote!(#pattern => #place,));
    let meaning = documentation(attrs);
    let kind = said.fixed_kind.as_ref().map_or_else(
        || quote!(::core::option::Option::None),
        |kind| quote!(::core::option::Option::Some(::coldforge_base::Kind::#kind)),
    );
    let hint = match &said.hint {
        Some(hint) if is_constant(hint) => quote!(#hint),
        _ => said.otherwise.as_ref().map_or_else(|| quote!(""), |hint| quote!(#hint)),
    };
    for code in &said.codes {
        parts.rows.push(quote! {
            ::coldforge_base::failure::Code { code: #code, kind: #kind, meaning: #meaning, hint: #hint }
        });
    }
    Ok(())
}

/// Returns the inner error of a transparent variant.
fn inner(said: &Said, names: &[Ident], span: Span) -> Result<Option<TokenStream>> {
    if !said.transparent {
        return Ok(None);
    }
    match names.iter().find(|name| *name == "source").or(names.first().filter(|_| names.len() == 1)) {
        Some(name) => Ok(Some(quote!(#name))),
        None => Err(Error::new(span, "a transparent failure has one field, or one that is called `source`")),
    }
}

/// Tells whether a hint is the same for every error of the variant: a literal, or a constant.
fn is_constant(hint: &Expr) -> bool {
    match hint {
        Expr::Lit(_) => true,
        Expr::Path(path) => path.path.segments.last().is_some_and(|name| {
            name.ident.to_string().chars().all(|letter| letter.is_ascii_uppercase() || "_0123456789".contains(letter))
        }),
        _ => false,
    }
}

/// Returns the documentation of a variant as one text.
fn documentation(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}
