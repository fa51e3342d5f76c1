namespace VmLab.Introspection;

/// <summary>What a type is, as BTF numbers it.</summary>
/// <remarks>Source: Linux 6.12, include/uapi/linux/btf.h, "BTF_KIND_".</remarks>
public enum BtfKind
{
    Void,
    Integer,
    Pointer,
    Array,
    Structure,
    Union,
    Enumeration,
    Forward,
    Typedef,
    Volatile,
    Constant,
    Restrict,
    Function,
    Prototype,
    Variable,
    DataSection,
    Float,
    DeclarationTag,
    TypeTag,
    Enumeration64,
}
