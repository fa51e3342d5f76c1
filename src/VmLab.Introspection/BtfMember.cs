namespace VmLab.Introspection;

/// <summary>Where a member lies in a structure.</summary>
/// <param name="BitOffset">In bits from the structure's first.</param>
/// <param name="BitSize">In bits; no multiple of 8 but for a bit field.</param>
/// <param name="Type">Number of the member's type.</param>
public readonly record struct BtfMember(int BitOffset, int BitSize, int Type)
{
    /// <summary>In bytes from the structure's first; of a bit field, of the byte that it begins in.</summary>
    public int Offset => BitOffset / 8;
}
