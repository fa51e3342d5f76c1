using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Floating;

namespace VmLab.X86.Tests.Sse;

/// <summary>A processor in long mode, RAM mapped where it lies, for one instruction at a time.</summary>
public sealed unsafe class VectorGuest : IDisposable
{
    public const ulong Code = 0x1_0000, State = 0x2_0000, Unmapped = 0x40_0000;

    const ulong Root = 0x1000, Gdt = 0x5000, Idt = 0x6000, Handlers = 0x8000, StackTop = 0x3_0000;
    const ulong Present = 1, Writable = 2, Large = 0x80;


    readonly FramePool _pool = new(64.MiB);
    readonly GuestMemory _memory;
    readonly Vcpu _cpu;

    public VectorGuest()
    {
        _memory = new GuestMemory(_pool, 4.MiB);
        var bus = new MemoryBus(_memory);
        var board = new VcpuBoard(
            bus, new PortBus(), new MsrBus(), new NoInterrupts(), new VirtualClock(), new ExitCounters());
        _cpu = new Vcpu(board, Rng.FromSeed(1));
        Write64(Root, Root + 0x1000 | Present | Writable);
        Write64(Root + 0x1000, Root + 0x2000 | Present | Writable);
        Write64(Root + 0x2000, 0 | Present | Writable | Large);
        Write64(Root + 0x2008, 0x20_0000 | Present | Writable | Large);
        Write64(Gdt + 8, 0x00AF_9B00_0000_FFFF);
        Write64(Gdt + 16, 0x00CF_9300_0000_FFFF);
        for (ulong vector = 0; vector < 32; vector++)
            Write64(Idt + 16 * vector, Handlers + 16 * vector | 8UL << 16 | 0x8EUL << 40);
        _cpu.Start(isLong: true, Code, Root, Gdt, 23, code: 8, data: 16);
        _cpu.State->IdtBase = Idt;
        _cpu.State->IdtLimit = 0xFFF;
        (DefaultCr0, DefaultCr4) = (_cpu.State->Cr0, _cpu.State->Cr4 | Cr4.FxSave | Cr4.SimdExceptions);
        SetControl(DefaultCr0, DefaultCr4);
    }

    /// <summary>Everything allowed.</summary>
    public ulong DefaultCr0 { get; }
    public ulong DefaultCr4 { get; }

    public CpuState* Cpu => _cpu.State;

    public void SetControl(ulong cr0, ulong cr4)
    {
        _cpu.State->Cr0 = cr0;
        _cpu.State->Cr4 = cr4;
        _cpu.Refresh();
    }

    /// <summary>Runs one instruction between two states; RSI and RDI point at what they do on the host.</summary>
    /// <returns>The vector raised, or null.</returns>
    public int? Run(byte[] instruction, VectorState* state)
    {
        CpuState* s = Cpu;
        _memory.Write(State, new ReadOnlySpan<byte>(state, VectorState.Size));
        new ReadOnlySpan<ulong>(state->Gpr, 16).CopyTo(new Span<ulong>(s->Gpr, 16));
        s->Gpr[Gpr.Rsi] = State + VectorState.MemoryOffset;
        s->Gpr[Gpr.Rdi] = State;
        var image = new Span<byte>(state->Image, 512);
        X87.RestoreExtended(ref s->X87, image, isWide: true);
        s->Mxcsr = BitConverter.ToUInt32(image[VectorState.ControlOffset..]);
        image[VectorState.XmmOffset..416].CopyTo(new Span<byte>(s->Xmm, 256));

        int? vector = Run(instruction, state->Flags);

        _memory.Read(State, new Span<byte>(state, VectorState.Size));
        new ReadOnlySpan<ulong>(s->Gpr, 16).CopyTo(new Span<ulong>(state->Gpr, 16));
        state->Flags = Flags.Arithmetic(s);
        image = new Span<byte>(state->Image, 512);
        X87.SaveExtended(s->X87, image, isWide: true);
        BitConverter.TryWriteBytes(image[VectorState.ControlOffset..], s->Mxcsr);
        new ReadOnlySpan<byte>(s->Xmm, 256).CopyTo(image[VectorState.XmmOffset..]);
        state->Trapped = vector is null ? 0UL : 1;
        return vector;
    }

    /// <summary>Runs one instruction, or as many as said, with the registers as they are.</summary>
    public int? Run(byte[] code, ulong flags = Rflags.Fixed, ulong counts = 1)
    {
        CpuState* s = Cpu;
        _memory.Write(Code, code);
        _cpu.SetFlags(flags & Rflags.Arithmetic);
        s->Gpr[Gpr.Rsp] = StackTop;
        s->Rip = Code;
        StopReason reason = _cpu.Run(counts);
        Assert.That(reason, Is.EqualTo(StopReason.Budget));
        if (s->Rip == Code + (ulong)code.Length) return null;
        Assert.That(s->Rip, Is.InRange(Handlers, Handlers + 0x200), "Code ends behind itself or in a handler.");
        return (int)(s->Rip - Handlers) / 16;
    }

    public static byte[] Assemble(Action<Assembler> write)
    {
        var assembler = new Assembler(64);
        write(assembler);
        using var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), Code);
        return bytes.ToArray();
    }

    public Span<byte> Read(ulong address, int length)
    {
        var bytes = new byte[length];
        _memory.Read(address, bytes);
        return bytes;
    }

    public void Write(ulong address, ReadOnlySpan<byte> bytes) => _memory.Write(address, bytes);

    public void Dispose()
    {
        _cpu.Dispose();
        _memory.Dispose();
        _pool.Dispose();
    }

    void Write64(ulong address, ulong value) => _memory.Write(address, BitConverter.GetBytes(value));

    sealed class NoInterrupts : IInterruptSource
    {
        public bool IsRequested => false;
        public byte Priority { get; set; }
        public byte Acknowledge() => 0;
    }
}
