namespace VmLab.Introspection;

/// <summary>Names of addresses in a guest's kernel.</summary>
public interface ISymbols
{
    /// <param name="address">Linear address of the symbol as the guest runs it.</param>
    bool TryFind(string name, out ulong address);

    /// <summary>
    /// The symbol that an address lies in, and how many bytes into it; <see langword="null"/> where there is none.
    /// </summary>
    (string Name, ulong Offset)? At(ulong address);
}
