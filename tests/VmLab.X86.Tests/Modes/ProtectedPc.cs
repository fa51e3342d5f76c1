using Iced.Intel;
using VmLab.X86.Tests.Guests;

namespace VmLab.X86.Tests.Modes;

/// <summary>A processor in 32-bit protected mode without paging, with tables to build programs on.</summary>
/// <remarks>
/// As in <see cref="VcpuFixture"/>, every vector leads to a HLT of its own, in ring 0. The stack of ring 0 in the task state is not the
/// one that ring 0 starts on, so that a test sees which was taken.
/// </remarks>
public sealed unsafe class ProtectedPc : IDisposable
{
    public const ushort Code0 = 0x08, Data0 = 0x10, Code1 = 0x19, Data1 = 0x21, Code3 = 0x2B, Data3 = 0x33, TaskState = 0x38,
        Conforming = 0x40, Code16 = 0x48, Any = 0x50, Second = 0x58, Local = 0x60;

    public const uint Code = 0x1_0000, Data = 0x2_0000, StackTop = 0x3_0000, Stack0 = 0x3_4000, Stack1 = 0x3_8000, LocalTable = 0x9000;

    /// <summary>Rights of present segments: of a byte each, as in a descriptor, with the flags above.</summary>
    public const ushort Readable = 0x90, Writable = 0x92, Execute = 0x98, ExecuteRead = 0x9A, ConformingRead = 0x9E, ExpandDown = 0x96,
        Big = 0x4000, Pages = 0x8000, Ring3 = 0x60, Ring1 = 0x20;

    public const uint FourGiB = 0xF_FFFF;   // of pages: 4 GiB

    readonly VcpuFixture _pc = new();

    public ProtectedPc()
    {
        SetDescriptor(Code0, 0, FourGiB, ExecuteRead | Big | Pages);
        SetDescriptor(Data0, 0, FourGiB, Writable | Big | Pages);
        SetDescriptor(Code1, 0, FourGiB, ExecuteRead | Ring1 | Big | Pages);
        SetDescriptor(Data1, 0, FourGiB, Writable | Ring1 | Big | Pages);
        SetDescriptor(Code3, 0, FourGiB, ExecuteRead | Ring3 | Big | Pages);
        SetDescriptor(Data3, 0, FourGiB, Writable | Ring3 | Big | Pages);
        SetDescriptor(TaskState, (uint)VcpuFixture.Tss, 103, 0x8B);
        SetDescriptor(Conforming, 0, FourGiB, ConformingRead | Big | Pages);
        SetDescriptor(Code16, 0, 0xFFFF, ExecuteRead);
        SetDescriptor(Local, LocalTable, 0xFF, 0x82);
        for (int vector = 0; vector < 256; vector++) SetGate((byte)vector, VcpuFixture.HandlerOf((byte)vector));
        Write32(VcpuFixture.Tss + 4, Stack0);
        Write32(VcpuFixture.Tss + 8, Data0);
        Write32(VcpuFixture.Tss + 12, Stack1);
        Write32(VcpuFixture.Tss + 16, Data1);
        _pc.Cpu.Start(isLong: false, Code, 0, VcpuFixture.Gdt, 0x7F, Code0, Data0);
        (State->IdtBase, State->IdtLimit) = (VcpuFixture.Idt, 0x7FF);
        (State->TssSelector, State->TssBase, State->TssLimit, State->TssRights) = (TaskState, VcpuFixture.Tss, 103, 0x8B);
        State->Gpr[Gpr.Rsp] = StackTop;
        Flags.SetArithmetic(State, 0);
        _pc.Cpu.Refresh();
    }

    public Vcpu Cpu => _pc.Cpu;
    public CpuState* State => _pc.State;
    public VcpuFixture Pc => _pc;
    public int HaltedVector => _pc.HaltedVector;

    public uint Read32(ulong address) => _pc.Memory.Read32(address);
    public void Write32(ulong address, uint value) => _pc.Memory.Write(address, BitConverter.GetBytes(value));

    /// <param name="rights">Bits 40 to 55 of the descriptor.</param>
    public void SetDescriptor(ushort selector, uint segmentBase, uint limit, ushort rights, ulong table = VcpuFixture.Gdt) =>
        _pc.Memory.Write64(table + (selector & ~7UL), limit & 0xFFFF | (ulong)(segmentBase & 0xFF_FFFF) << 16 | (ulong)rights << 40
            | (ulong)(limit >> 16 & 0xF) << 48 | (ulong)(segmentBase >> 24) << 56);

    /// <summary>The descriptor's rights, to see what the processor did to them.</summary>
    public ushort RightsOf(ushort selector) => (ushort)(_pc.Memory.Read64(VcpuFixture.Gdt + (selector & ~7UL)) >> 40);

    /// <param name="type">14 and 15 for interrupt and trap gates of 32 bits, 6 and 7 of 16, 5 for a task gate.</param>
    public void SetGate(byte vector, ulong target, int dpl = 0, int type = 14, ushort selector = Code0) =>
        _pc.Memory.Write64(VcpuFixture.Idt + 8UL * vector, GateBits((uint)target, selector, dpl, type, count: 0));

    /// <param name="type">12 for a gate of 32 bits, 4 of 16.</param>
    public void SetCallGate(ushort at, uint target, ushort selector, int dpl, int count = 0, int type = 12) =>
        _pc.Memory.Write64(VcpuFixture.Gdt + (at & ~7UL), GateBits(target, selector, dpl, type, count));

    /// <summary>Goes to a ring, with its own flat segments and to where all programs start.</summary>
    public void Enter(int ring)
    {
        (ushort code, ushort data) = ring switch { 0 => (Code0, Data0), 1 => (Code1, Data1), _ => (Code3, Data3) };
        (State->Rip, State->IsHalted, State->Cpl) = (Code, 0, (byte)ring);
        var dpl = (ushort)(ring << 5);
        (State->SegmentSelectors[Segment.Cs], State->SegmentRights[Segment.Cs]) = (code, (ushort)(0xC09B | dpl));
        foreach (int segment in (int[])[Segment.Ss, Segment.Ds, Segment.Es, Segment.Fs, Segment.Gs])
            (State->SegmentSelectors[segment], State->SegmentRights[segment]) = (data, (ushort)(0xC093 | dpl));
        _pc.Cpu.Refresh();
    }

    public void Load(Action<Assembler> write, uint address = Code, int bitness = 32) => _pc.Load(write, address, bitness);

    public void RunToHalt() => _pc.RunToHalt();

    /// <summary>Words of 32 bits from the stack pointer on.</summary>
    public uint[] Frame(int words) =>
        [.. Enumerable.Range(0, words).Select(i => Read32(State->Gpr[Gpr.Rsp] + 4 * (ulong)i))];

    /// <summary>Words of 16 bits from the stack pointer on.</summary>
    public ushort[] Frame16(int words) =>
        [.. Enumerable.Range(0, words).Select(i => (ushort)Read32(State->Gpr[Gpr.Rsp] + 2 * (ulong)i))];

    public void Dispose() => _pc.Dispose();

    static ulong GateBits(uint target, ushort selector, int dpl, int type, int count) =>
        target & 0xFFFF | (ulong)selector << 16 | (ulong)count << 32 | (ulong)(0x80 | dpl << 5 | type) << 40 | (ulong)(target >> 16) << 48;
}
