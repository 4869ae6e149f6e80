@0xbe532b036257b869;
# RecursiveSerde of syft 0.9.5, byte for byte on the wire, with its texts read as bytes: pycapnp 2.0.0
# dies of a text that does not end with a zero, where the byte in its place is no ASCII.

struct PackedObject {
    fieldsName @0 :List(Data);
    fieldsData @1 :List(List(Data));
    nonrecursiveBlob @2 :List(Data);
    canonicalName @3 :Data;
    version @4 :Int32;
}
