namespace VmLab;

/// <summary>What a guest does to bytes of its memory.</summary>
[Flags]
public enum MemoryAccess
{
    Read = 1,
    Write = 2,

    /// <summary>Either.</summary>
    Any = Read | Write,
}
