using VmLab.Core;
using VmLab.X86.Tests.Guests;
using VmLab.X86.Tests.Native;

namespace VmLab.X86.Tests.Oracle;

/// <summary>
/// A guest's ring 3 with the memory of <see cref="NativeCpu"/> at the same addresses, in scattered physical pages.
/// </summary>
sealed unsafe class GuestCpu : IDisposable
{
    const ulong PhysicalCode = 0x40_0000, PhysicalStack = 0x41_0000, PhysicalData = 0x42_0000,
        StackBase = NativeCpu.StackPointer - 0x1000;

    readonly VcpuFixture _fixture = new();
    readonly bool _isNarrow;

    /// <param name="isNarrow">32-bit code: compatibility mode.</param>
    public GuestCpu(bool isNarrow)
    {
        _isNarrow = isNarrow;
        Enter();
        const ulong Bits = VcpuFixture.Present | VcpuFixture.Writable | VcpuFixture.User;
        for (ulong page = 0; page < 2; page++)
            _fixture.Map(NativeCpu.CodePages + (page << 12), PhysicalCode + (page << 12), Bits);
        for (ulong page = 0; page < 2; page++)
            _fixture.Map(StackBase + (page << 12), PhysicalStack + (page << 12), Bits);
        for (int page = 0; page < NativeCpu.DataLength >> 12; page++)
            _fixture.Map(NativeCpu.DataPages + ((ulong)page << 12), PhysicalOf(page), Bits);
        _fixture.Cpu.Refresh();
    }

    public CpuState* State => _fixture.State;

    /// <summary>Why the last run could not go on, when it could not.</summary>
    public string? Trouble { get; private set; }

    /// <summary>Runs one instruction for so many counts, a repeated one in slices.</summary>
    public void Run(OracleCase test, ulong counts, Random slices)
    {
        CpuState* s = State;
        _fixture.Memory.Write(PhysicalCode + (test.Address - NativeCpu.CodePages), test.Bytes);
        test.Gpr.CopyTo(new Span<ulong>(s->Gpr, 16));
        _fixture.Cpu.SetFlags(test.Flags);
        s->Rip = test.Address;
        Trouble = null;
        while (counts > 0 && Trouble is null)
        {
            ulong slice = ulong.Min(counts, (ulong)slices.Next(1, slices.Next(2) == 0 ? 3 : 100));
            ulong before = _fixture.Clock.Now;
            StopReason reason = _fixture.Cpu.Run(slice);
            if (reason != StopReason.Budget || _fixture.Clock.Now != before + slice)
                Trouble = $"stopped with {reason} after {_fixture.Clock.Now - before} of {slice}";
            if (s->Cpl != 3) Trouble = $"faulted with vector {_fixture.HaltedVectorAtEntry}, CR2 0x{s->Cr2:X}";
            counts -= slice;
        }
        if (s->Cpl != 3) Enter();
        s->IsHalted = 0;
    }

    void Enter()
    {
        _fixture.EnterUser();
        if (!_isNarrow) return;
        (State->SegmentSelectors[Segment.Cs], State->SegmentRights[Segment.Cs]) = (VcpuFixture.UserCode32, 0xC0FB);
        _fixture.Cpu.Refresh();
    }

    /// <summary>Whether the data pages and the stack hold these bytes.</summary>
    public bool HasMemory(NativeCpu native) => Differences(native).FirstOrDefault() is null;

    /// <summary>The first bytes that differ, in words.</summary>
    public IEnumerable<string> Differences(NativeCpu native)
    {
        for (int page = 0; page < NativeCpu.DataLength >> 12; page++)
        {
            var ours = GuestBytes(PhysicalOf(page), 4096);
            var theirs = native.Data.Slice(page << 12, 4096);
            int at = ours.CommonPrefixLength(theirs);
            if (at < 4096)
                return [$"byte 0x{NativeCpu.DataPages + ((ulong)page << 12) + (ulong)at:X}: guest {ours[at]:X2}, host {theirs[at]:X2}"];
        }
        var stack = GuestBytes(PhysicalStack
            + (NativeCpu.StackPointer - StackBase) - NativeCpu.StackLength / 2, NativeCpu.StackLength / 2);
        int below = stack.CommonPrefixLength(native.Stack);
        if (below < stack.Length)
            return [$"stack byte {below - stack.Length}: guest {stack[below]:X2}, host {native.Stack[below]:X2}"];
        stack = GuestBytes(PhysicalStack + (NativeCpu.StackPointer - StackBase), NativeCpu.StackLength / 2);
        int above = stack.CommonPrefixLength(native.Stack[(NativeCpu.StackLength / 2)..]);
        return above < stack.Length
            ? [$"stack byte {above}: guest {stack[above]:X2}, host {native.Stack[NativeCpu.StackLength / 2 + above]:X2}"] : [];
    }

    /// <summary>Takes over the host's memory.</summary>
    public void Copy(NativeCpu native)
    {
        for (int page = 0; page < NativeCpu.DataLength >> 12; page++)
            _fixture.Memory.Write(PhysicalOf(page), native.Data.Slice(page << 12, 4096));
        _fixture.Memory.Write(PhysicalStack
            + (NativeCpu.StackPointer - StackBase) - NativeCpu.StackLength / 2, native.Stack);
    }

    public void Store(ulong address, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BitConverter.TryWriteBytes(bytes, value);
        for (int i = 0; i < 8; i++) _fixture.Memory.Write(Physical(address + (ulong)i), bytes.Slice(i, 1));
    }

    public void Dispose() => _fixture.Dispose();

    static ulong Physical(ulong address) => address >= NativeCpu.DataPages
        ? PhysicalOf((int)(address - NativeCpu.DataPages >> 12)) + (address & 0xFFF)
        : PhysicalStack + (address - StackBase);

    // Neighbours in the guest are no neighbours in RAM.
    static ulong PhysicalOf(int dataPage) => PhysicalData + (ulong)(dataPage * 5 % 16) * 0x1000;

    ReadOnlySpan<byte> GuestBytes(ulong physical, int length) =>
        new(_fixture.Memory.ReadPointer(physical >> 12) + (physical & 0xFFF), length);
}
