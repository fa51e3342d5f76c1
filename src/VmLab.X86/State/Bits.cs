namespace VmLab.X86;

/// <summary>RFLAGS bits. Source: Intel SDM vol. 1 §3.4.3.</summary>
public static class Rflags
{
    public const ulong Carry = 1, Fixed = 2, Parity = 4, Adjust = 0x10, Zero = 0x40, Sign = 0x80, Trap = 0x100,
        Interrupt = 0x200, Direction = 0x400, Overflow = 0x800, Iopl = 0x3000, NestedTask = 0x4000, Resume = 0x1_0000,
        Virtual8086 = 0x2_0000, AlignmentCheck = 0x4_0000, VirtualInterrupt = 0x8_0000, VirtualInterruptPending = 0x10_0000,
        Identification = 0x20_0000;

    public const ulong Arithmetic = Carry | Parity | Adjust | Zero | Sign | Overflow;
}

/// <summary>CR0 bits. Source: Intel SDM vol. 3A §2.5.</summary>
public static class Cr0
{
    public const ulong ProtectionEnable = 1, MonitorCoprocessor = 2, Emulation = 4, TaskSwitched = 8, ExtensionType = 0x10,
        NumericError = 0x20, WriteProtect = 0x1_0000, AlignmentMask = 0x4_0000, NotWriteThrough = 0x2000_0000,
        CacheDisable = 0x4000_0000, Paging = 0x8000_0000;

    public const ulong All = ProtectionEnable | MonitorCoprocessor | Emulation | TaskSwitched | ExtensionType | NumericError
        | WriteProtect | AlignmentMask | NotWriteThrough | CacheDisable | Paging;
}

/// <summary>CR4 bits. Source: Intel SDM vol. 3A §2.5.</summary>
public static class Cr4
{
    public const ulong TimeStampDisable = 4, DebugExtensions = 8, PageSizeExtensions = 0x10,
        PhysicalAddressExtension = 0x20, MachineCheck = 0x40, GlobalPages = 0x80, PerformanceCounters = 0x100, FxSave = 0x200,
        SimdExceptions = 0x400, UserModeInstructionPrevention = 0x800, FsGsBase = 0x1_0000, Pcid = 0x2_0000, XSave = 0x4_0000,
        Smep = 0x10_0000, Smap = 0x20_0000;

    /// <summary>The bits that this processor has; any other raises #GP(0).</summary>
    public const ulong Supported = TimeStampDisable | DebugExtensions | PageSizeExtensions
        | PhysicalAddressExtension | MachineCheck | GlobalPages | PerformanceCounters | FxSave | SimdExceptions
        | UserModeInstructionPrevention | FsGsBase | Pcid | XSave | Smep | Smap;
}

/// <summary>Bits of the extended feature enable register. Source: AMD APM vol. 2 §3.1.7.</summary>
public static class Efer
{
    public const ulong SystemCall = 1, LongModeEnable = 0x100, LongModeActive = 0x400, NoExecute = 0x800;

    public const ulong Supported = SystemCall | LongModeEnable | LongModeActive | NoExecute;
}

/// <summary>Numbers of the general registers.</summary>
public static class Gpr
{
    public const int Rax = 0, Rcx = 1, Rdx = 2, Rbx = 3, Rsp = 4, Rbp = 5, Rsi = 6, Rdi = 7, R8 = 8, R11 = 11;
}

/// <summary>Numbers of the segment registers, as in an instruction's encoding.</summary>
public static class Segment
{
    public const int Es = 0, Cs = 1, Ss = 2, Ds = 3, Fs = 4, Gs = 5;
}

/// <summary>
/// Access rights of a segment, as <see cref="CpuState.SegmentRights"/> keeps them. Source: Intel SDM vol. 3A §3.4.5.
/// </summary>
public static class SegmentRights
{
    public const ushort Accessed = 1, Writable = 2, Conforming = 4, ExpandDown = 4, Code = 8, NotSystem = 0x10, Dpl = 0x60, Present = 0x80,
        Long = 0x2000, Big = 0x4000, Granular = 0x8000;
}

/// <summary>What an instruction stream is decoded under; part of a block's key.</summary>
[Flags]
public enum CodeMode : uint
{
    /// <summary>64-bit mode; else 32-bit or 16-bit by <see cref="Code32"/>.</summary>
    Code64 = 1,
    Code32 = 2,

    /// <summary>The stack pointer is ESP or RSP, not SP.</summary>
    Stack32 = 4,

    /// <summary>CS, DS, ES and SS have base 0 and a limit of 4 GiB: they need no checks.</summary>
    Flat = 8,

    /// <summary>Blocks of one instruction.</summary>
    Single = 16,

    /// <summary>CR0.EM or CR0.TS is set: x87 and MMX instructions raise #UD or #NM.</summary>
    FloatOff = 32,

    /// <summary>CR0.EM or CR0.TS is set, or CR4.OSFXSR is not: SSE instructions raise #UD or #NM.</summary>
    SseOff = 64,

    /// <summary>An SSE floating-point exception is unmasked: MXCSR lets it through.</summary>
    SseTraps = 128,
}

/// <summary>What holds interrupts back for one instruction. Source: Intel SDM vol. 3A §6.8.3.</summary>
public static class Shadow
{
    /// <summary>Behind STI; behind a load of SS, which holds debug traps back too.</summary>
    public const byte Sti = 1, Stack = 2;
}

/// <summary>Why control left a block.</summary>
public enum Leave : byte
{
    /// <summary>RIP is the next block's; look it up.</summary>
    Next,

    /// <summary>RIP is the next block's, in the same page: link it to the op that left.</summary>
    Link,

    /// <summary>An instruction raised an exception; RIP is its own.</summary>
    Fault,

    /// <summary>The instruction at RIP must run alone: it touches a device, or code.</summary>
    Alone,

    /// <summary>A pending interrupt may have become deliverable.</summary>
    Check,

    /// <summary>A device was called: its lines and deadlines may have changed.</summary>
    Device,

    Halt,

    /// <summary>A breakpoint from outside is at RIP.</summary>
    Break,

    /// <summary>A software interrupt: FaultVector is delivered with RIP behind the instruction.</summary>
    Trap,

    /// <summary>A triple fault.</summary>
    Shutdown,

    /// <summary>Translated code touched memory that the host has not.</summary>
    Crash,
}
