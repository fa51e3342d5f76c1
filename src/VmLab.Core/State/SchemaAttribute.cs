namespace VmLab.Core;

/// <summary>
/// Names and versions the shape of a state record. A changed shape takes a new version and an upgrade.
/// </summary>
[AttributeUsage(AttributeTargets.Struct | AttributeTargets.Class)]
public sealed class SchemaAttribute(string name, int version) : Attribute
{
    public string Name => name;
    public int Version => version;
}
