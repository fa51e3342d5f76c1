namespace VmLab.Core;

/// <summary>What stands in the way of a plain store to a guest-physical page, and whether a TLB may hold it.</summary>
[Flags]
public enum PageFlags : byte
{
    None = 0,

    /// <summary>Not written since the last moment.</summary>
    Clean = 1,

    /// <summary>The frame has other owners: a store takes a copy first.</summary>
    Shared = 2,

    /// <summary>Decoded or translated code was made from it.</summary>
    Code = 4,

    /// <summary>A live TLB entry was walked through it.</summary>
    Table = 8,

    /// <summary>A watch wants to see accesses to it.</summary>
    Watched = 16,

    /// <summary>Some TLB entry may point at its frame.</summary>
    Cached = 128,

    /// <summary>Any of these keeps a store on the slow path.</summary>
    SlowStore = Clean | Shared | Code | Table | Watched,
}
