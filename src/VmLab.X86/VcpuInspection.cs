using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using VmLab.Core;

namespace VmLab.X86;

// What others may see and set between runs.
public sealed unsafe partial class Vcpu
{
    static readonly string[] s_names =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    /// <summary>Whether anything could end a HLT: interrupts are on, or an NMI or a machine check is pending.</summary>
    public bool CanWake => (_s->SystemFlags & Rflags.Interrupt) != 0 || (_s->NmiPending | _s->MachineCheckPending) != 0;

    /// <summary>Whether it is halted, and nothing is pending that ends that: only time or what comes from outside can.</summary>
    public bool IsAsleep =>
        _s->IsHalted != 0 && CanWake && _s->InterruptShadow == 0 && _s->TrapPending == 0 && (_s->NmiPending | _s->MachineCheckPending) == 0
        && !_board.Interrupts.IsRequested;

    /// <summary>
    /// The vector of the last exception or interrupt that the last run delivered, or <see langword="null"/>.
    /// </summary>
    public byte? LastDelivery { get; private set; }

    /// <summary>Address of the next instruction.</summary>
    public ulong Rip => _s->Rip;

    /// <summary>Linear address of the next instruction.</summary>
    public ulong LinearRip => LinearOf(_s->Rip);

    /// <summary>RFLAGS as PUSHFQ would store it.</summary>
    public ulong RflagsValue => Flags.All(_s);

    /// <param name="number">As in <see cref="Gpr"/>.</param>
    public ulong Register(int number) => _s->Gpr[number];

    public void SetRegister(int number, ulong value) => _s->Gpr[number] = value;

    /// <summary>The translation of the block at a physical address, in the present mode.</summary>
    /// <returns><see langword="null"/> where no such block is translated.</returns>
    public TranslatedCode? TranslationAt(ulong physical)
    {
        ulong page = physical >> GuestMemory.PageShift;
        if (_translator is null || !_ram.IsRam(page)) return null;
        byte* code = _ram.ReadPointer(page) + (physical & (GuestMemory.PageSize - 1));
        Block* block = _code.Find((ulong)code | _s->ModeKey);
        if (block == null || block->Native == _code.Untranslated) return null;
        int hostLength = (int)(_code.EndOfNative(block, _translator.End) - block->Native);
        return new(
            block->Count, new ReadOnlySpan<byte>(code, block->Length).ToArray(),
            (ulong)block->Native, new ReadOnlySpan<byte>(block->Native, hostLength).ToArray());
    }

    /// <summary>The general registers, RIP and RFLAGS, as a table of five lines.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        for (int i = 0; i < s_names.Length; i++)
            text.Append(CultureInfo.InvariantCulture, $"{s_names[i],-3} {Register(i):x16}{(i % 4 == 3 ? '\n' : ' ')}");
        return text.Append(CultureInfo.InvariantCulture, $"rip {Rip:x16} rflags {RflagsValue:x}").ToString();
    }

    /// <summary>The registers that differ from another processor's: name, value here, value there.</summary>
    public IEnumerable<(string Name, string Here, string There)> DifferencesFrom(Vcpu other) =>
        Named.Zip(other.Named, (mine, its) => (mine.Name, mine.Value, its.Value)).Where(pair => pair.Item2 != pair.Item3);

    IEnumerable<(string Name, string Value)> Named =>
    [
        .. s_names.Select((name, i) => (name, Hex(Register(i)))),
        ("rip", Hex(Rip)), ("rflags", Hex(RflagsValue)), ("cpl", Hex((ulong)PrivilegeLevel)),
        .. new[] { 0, 2, 3, 4, 8 }.Select(number => ($"cr{number}", Hex(ControlRegister(number)))), ("efer", Hex(ExtendedFeatures)),
        .. Enumerable.Range(0, CpuState.SegmentCount).Select(i => ($"segment {i}", SegmentRegister(i).ToString())),
        .. new[] { 0, 1, 2, 3, 6, 7 }.Select(number => ($"dr{number}", Hex(DebugRegister(number)))),
        ("mxcsr", Hex(Mxcsr)), ("x87", Convert.ToHexStringLower(Bytes(X87))),
        .. Enumerable.Range(0, 16).Select(i => ($"xmm{i}", Xmm(i).ToString("x32", CultureInfo.InvariantCulture))),
    ];

    static ReadOnlySpan<byte> Bytes(in Floating.X87State x87) => MemoryMarshal.AsBytes(new ReadOnlySpan<Floating.X87State>(in x87));

    static string Hex(ulong value) => value.ToString("x16", CultureInfo.InvariantCulture);

    /// <summary>The state in front of the engines' scratch.</summary>
    Span<byte> Remembered => new(_s, (int)((byte*)&_s->Budget - (byte*)_s));

    /// <summary>All that the processor remembers.</summary>
    public VcpuState Save()
    {
        if (!IsLeftInRepetition) _s->RepeatedAt = ulong.MaxValue;   // how runs were cut is no part of a moment
        return new(new Values<byte>(Remembered), Retired);
    }

    /// <summary>Sets the state; the memory is restored before.</summary>
    /// <exception cref="LabException">It is the state of no such processor.</exception>
    public void Restore(VcpuState state)
    {
        if (state.Registers.Count != Remembered.Length) throw new LabException("The moment is of a processor with other registers.");
        state.Registers.Span.CopyTo(Remembered);
        if (CpuRules.Broken(_s) is { } rule) throw new LabException($"The moment is of a processor that cannot be: {rule}.");
        Retired = state.Retired;
        ForgetStops();
        RearmDebugRegisters();
        _tlb.Flush();
        UpdateSpace();
    }

    /// <summary>Adds the canonical processor state: nothing of engines, TLB or code.</summary>
    public void AddTo(StateHash hash)
    {
        hash.Add("vcpu");
        for (int i = 0; i < 16; i++) hash.Add(_s->Gpr[i]);
        hash.Add(_s->Rip).Add(Flags.All(_s));
        for (int i = 0; i < CpuState.SegmentCount; i++)
            hash.Add(_s->SegmentBases[i]).Add((ulong)_s->SegmentSelectors[i] << 48 | (ulong)_s->SegmentRights[i] << 32 | _s->SegmentLimits[i]);
        hash.Add(_s->GdtBase).Add(_s->IdtBase).Add(_s->LdtBase).Add(_s->TssBase);
        hash.Add(_s->GdtLimit).Add(_s->IdtLimit).Add(_s->LdtLimit).Add(_s->TssLimit);
        hash.Add((ulong)_s->LdtSelector << 48 | (ulong)_s->TssSelector << 32 | (uint)_s->LdtRights << 16 | _s->TssRights);
        hash.Add(_s->Cr0).Add(_s->Cr2).Add(_s->Cr3).Add(_s->Cr4).Add(_s->Xcr0).Add(_s->Efer);
        for (int i = 0; i < 4; i++) hash.Add(_s->DirectoryPointers[i]);
        for (int i = 0; i < 8; i++) hash.Add(_s->Dr[i]);
        hash.Add(_s->Star).Add(_s->Lstar).Add(_s->Cstar).Add(_s->SyscallMask).Add(_s->KernelGsBase).Add(_s->TscAux).Add(_s->Pat);
        hash.Add(_s->SysenterCs).Add(_s->SysenterRsp).Add(_s->SysenterRip);
        hash.Add(_s->TscOffset).Add(_s->MtrrDefault).Add(_s->MiscEnable).Add(_s->DebugControl);
        for (int i = 0; i < 11; i++) hash.Add(_s->MtrrFixed[i]);
        for (int i = 0; i < 16; i++) hash.Add(_s->MtrrVariable[i]);
        hash.Add((ulong)_s->Cpl | (ulong)_s->IsHalted << 8 | (ulong)_s->InterruptShadow << 16 | (ulong)_s->NmiBlocked << 24
            | (ulong)(_s->NmiPending | _s->MachineCheckPending << 1) << 32 | (ulong)_s->TrapPending << 40 | (IsLeftInRepetition ? 1UL << 56 : 0));
        hash.Add(_s->Mxcsr);
        for (int i = 0; i < 32; i++) hash.Add(_s->Xmm[i]);
        hash.Add(Bytes(_s->X87));
        hash.AddRecord(_s->Random);
    }
}
