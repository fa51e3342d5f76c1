using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace VmLab.X86;

/// <summary>All that one processor remembers, at fixed offsets of unmanaged memory, shared by every engine.</summary>
/// <remarks>
/// The first 256 bytes are the register file: a decoded operand is a byte offset into it, so that AH is RAX's offset
/// plus one.
/// What stands behind <see cref="Budget"/> is the engines' scratch, no part of the state hash.
/// Arithmetic flags are kept as a result and a carry vector (see <see cref="Flags"/>), the others in <see
/// cref="SystemFlags"/>.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct CpuState
{
    public const int GprOffset = 0, ZeroOffset = 128, RipOffset = 136;
    public const int SegmentCount = 6, NoSegment = 6, EngineExitCount = (int)EngineExit.Instruction + 1;

    public const int CachedReturns = 64, WindowCount = 4;

    /// <summary>The longest operand: an XSAVE area.</summary>
    public const int ScratchBytes = XSaveOps.AreaSize;

    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.</summary>
    public fixed ulong Gpr[16];

    /// <summary>Always 0: the register that is not there, so that an address needs no tests.</summary>
    public ulong Zero;

    /// <summary>At an instruction boundary, RIP; inside a block, RIP of the block's first instruction.</summary>
    public ulong Rip;

    /// <summary>The last arithmetic result, sign-extended to 64 bits; see <see cref="Flags"/>.</summary>
    public ulong FlagsResult;

    /// <summary>Carries of the last arithmetic; see <see cref="Flags"/>.</summary>
    public ulong FlagsCarries;

    /// <summary>RFLAGS without CF, PF, AF, ZF, SF, OF.</summary>
    public ulong SystemFlags;

    /// <summary>Bases of ES, CS, SS, DS, FS, GS, and a seventh that is always 0.</summary>
    public fixed ulong SegmentBases[8];

    // Register file ends here; everything below is at whatever offset it falls on.

    public fixed ushort SegmentSelectors[8];
    public fixed uint SegmentLimits[8];

    /// <summary>
    /// Access rights as in a descriptor's bits 40 to 55: type, S, DPL, P, and AVL, L, D/B, G in bits 12 to 15; 0 is a
    /// null segment.
    /// </summary>
    public fixed ushort SegmentRights[8];

    public ulong GdtBase, IdtBase, LdtBase, TssBase;
    public uint GdtLimit, IdtLimit, LdtLimit, TssLimit;
    public ushort LdtSelector, TssSelector, LdtRights, TssRights;

    public ulong Cr0, Cr2, Cr3, Cr4, Xcr0, Efer;

    /// <summary>The directory pointers that PAE paging translates by; loaded with CR0, CR3 and CR4.</summary>
    public fixed ulong DirectoryPointers[4];
    public fixed ulong Dr[8];

    public ulong Star, Lstar, Cstar, SyscallMask, KernelGsBase, TscAux, Pat;
    public ulong SysenterCs, SysenterRsp, SysenterRip;
    public ulong TscOffset, MtrrDefault, MiscEnable, DebugControl;
    public fixed ulong MtrrFixed[11];
    public fixed ulong MtrrVariable[16];

    /// <summary>Current privilege level, 0 to 3.</summary>
    public byte Cpl;

    /// <summary>Set by HLT, cleared by an interrupt.</summary>
    public byte IsHalted;

    /// <summary>The next instruction is done before any interrupt; see <see cref="Shadow"/>.</summary>
    public byte InterruptShadow;

    /// <summary>An NMI is being served: the next waits for IRET.</summary>
    public byte NmiBlocked;

    public byte NmiPending;

    /// <summary>A machine check is to be delivered before the next instruction.</summary>
    public byte MachineCheckPending;

    /// <summary>What a debug trap that waits to be delivered sets in DR6; see <see cref="Dr6"/>.</summary>
    public ushort TrapPending;

    /// <summary>MXCSR, the SSE control and status register.</summary>
    public uint Mxcsr;

    public Floating.X87State X87;

    /// <summary>XMM0 to XMM15, low quadword first.</summary>
    public fixed ulong Xmm[32];

    /// <summary>The stream that RDRAND and RDSEED draw from.</summary>
    public Core.Rng Random;

    /// <summary>
    /// Machine time, in nanoseconds, at which a repetition was left between two iterations: while it is now, RIP is on it.
    /// </summary>
    public ulong RepeatedAt;

    // ---- engine scratch from here on ----

    /// <summary>Counts left before the engine must stop; a block's are taken when it is entered.</summary>
    public long Budget;

    /// <summary>Machine time, in nanoseconds, at which the budget would be used up.</summary>
    public ulong Deadline;

    /// <summary>The present bank of the TLB: <see cref="TlbEntry"/> by page number.</summary>
    public TlbEntry* Tlb;

    /// <summary>Why the last handler returned no next op.</summary>
    public Leave Leave;

    /// <summary>The op that left, for what still refers to it.</summary>
    public Op* Left;

    /// <summary>Blocks of one instruction run: they may touch devices and code.</summary>
    public byte IsSingle;

    /// <summary>A store waits in <see cref="Scratch"/> for its commit.</summary>
    public byte IsStorePending;

    public byte FaultVector;
    public byte FaultHasError;
    public uint FaultError;
    public ulong FaultAddress;

    /// <summary>
    /// Mode bits that a block is decoded under, at their place in a block's key; see <see cref="X86.CodeMode"/>.
    /// </summary>
    public ulong ModeKey;

    /// <summary>CS ends below 4 GiB: instructions run one by one, each held against the limit.</summary>
    public byte HasCodeLimit;

    /// <summary>Part of the budget kept back while one instruction runs alone, so that no block follows it.</summary>
    public long Held;

    /// <summary>
    /// Physical addresses of a pending store's first byte, and of its first byte behind a page boundary.
    /// </summary>
    public ulong PendingAddress, PendingSecond;
    public int PendingLength, PendingFirstLength;

    /// <summary>A device was called, or a watch saw something.</summary>
    public byte DeviceTouched;

    /// <summary>Interrupts must be looked at before the next instruction.</summary>
    public byte CheckInterrupts;

    /// <summary>Direct-mapped cache of blocks by host address and mode.</summary>
    public BlockSlot* BlockCache;

    /// <summary>
    /// Where an access that no pointer can serve is assembled: it crosses a page, or goes to a device.
    /// </summary>
    public fixed ulong Scratch[ScratchBytes / 8];

    /// <summary>In translated code: the arithmetic flags as LAHF and SETO AL leave them in AX.</summary>
    public ushort HostFlags;

    /// <summary>In translated code: the MXCSR that the host has, and the one that it gets back.</summary>
    public uint HostMxcsr, CallerMxcsr;

    /// <summary>The way into translated code.</summary>
    public byte* EnterTranslated;

    /// <summary>In translated code: what two registers are too few for.</summary>
    public ulong Spill, SpillFlags;

    /// <summary>The host address of the instruction at which translated code crashed.</summary>
    public byte* CrashedAt;

    /// <summary>In translated code: operands from which the flags can be made again.</summary>
    public fixed ulong FlagSources[2];

    /// <summary>In translated code: host addresses of bytes that later instructions of the block touch, too.</summary>
    public fixed ulong Windows[WindowCount];

    /// <summary>Of translated code, by where the stack had the return address: the key of the code to return to, and its translation.</summary>
    public fixed ulong Returns[2 * CachedReturns];

    /// <summary>How often translated code was left, by <see cref="EngineExit"/>.</summary>
    public fixed ulong EngineExits[EngineExitCount];

    /// <summary>A GC handle of the managed processor around this state.</summary>
    public nint Owner;

    public readonly bool IsLongMode => (Efer & X86.Efer.LongModeActive) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Read(CpuState* state, int offset) => *(ulong*)((byte*)state + offset);
}
