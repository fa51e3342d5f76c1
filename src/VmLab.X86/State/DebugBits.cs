namespace VmLab.X86;

/// <summary>Bits of DR6, the debug status. Source: Intel SDM vol. 3B §17.2.3.</summary>
static class Dr6
{
    public const ushort Breakpoints = 0xF, GeneralDetect = 1 << 13, SingleStep = 1 << 14;

    /// <summary>No bit of DR6: marks the pending trap of an ICEBP, which sets none.</summary>
    public const ushort Icebp = 1 << 15;

    public const ulong Fixed = 0xFFFF_0FF0, Writable = 0xE00F;
}

/// <summary>Bits of DR7, the debug control. Source: Intel SDM vol. 3B §17.2.4.</summary>
static class Dr7
{
    public const ulong GeneralDetect = 1 << 13, Fixed = 0x400, Writable = 0xFFFF_23FF, EnablesAny = 0xFF;

    /// <summary>What a breakpoint is on: an R/W field of DR7.</summary>
    public const int Execute = 0, Write = 1, Port = 2, ReadOrWrite = 3;
}
