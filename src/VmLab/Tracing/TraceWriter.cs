using System.Globalization;
using System.Text;
using Iced.Intel;
using VmLab.Introspection;
using VmLab.Machines;
using VmLab.X86;

namespace VmLab.Tracing;

/// <summary>
/// Writes a line a count: count, privilege level, RIP, symbol, instruction, memory read, registers changed, memory written.
/// </summary>
/// <remarks>
/// Memory is what the instruction's operands name, up to 8 bytes each; the processor's own accesses (frames, descriptors, page
/// tables) are not shown. The line of a delivery names the vector, and the instruction that it came before or out of.
/// </remarks>
sealed class TraceWriter(Machine machine, TraceOptions options, Func<ISymbols?> symbols) : ITracer
{
    const int LongestInstruction = 15;

    static readonly string[] s_names =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    static readonly ExitReason[] s_exits = [.. Enum.GetValues<ExitReason>().Where(reason => reason != ExitReason.TlbRefill)];

    readonly Vcpu _cpu = machine.Cpu;
    readonly byte[] _bytes = new byte[LongestInstruction];
    readonly ulong[] _registers = new ulong[16];
    readonly InstructionInfoFactory _facts = new();
    readonly IntelFormatter _formatter = new();
    readonly StringOutput _formatted = new();
    readonly StringBuilder _line = new();
    readonly List<(ulong Address, int Length)> _written = [];
    Instruction _instruction;
    ulong _count, _rip, _flags, _exits, _deliveries;
    bool _isShown;
    long _lines;

    /// <summary>The limit is reached.</summary>
    public bool IsFull => _lines >= options.Limit;

    public void Before()
    {
        bool isUser = _cpu.PrivilegeLevel == 3;
        _isShown = options.Mode == TraceMode.All || isUser == (options.Mode == TraceMode.User);
        if (!_isShown) return;
        for (int i = 0; i < _registers.Length; i++) _registers[i] = _cpu.Register(i);
        (_count, _rip, _flags) = (_cpu.Retired, _cpu.Rip, _cpu.RflagsValue);
        (_exits, _deliveries) = (Sum(s_exits), Deliveries);
        Decode();
        _line.Clear();
        _line.Append(CultureInfo.InvariantCulture, $"{_count,12} {_cpu.PrivilegeLevel} {_rip:x16} {Symbol(_rip),-40} ");
        AppendInstruction();
        AppendReads();
    }

    public void After()
    {
        if (!_isShown || options.ExitsOnly && Sum(s_exits) == _exits) return;
        if (Deliveries != _deliveries)
            _line.Append(CultureInfo.InvariantCulture, $"  -- vector {_cpu.LastDelivery} to {_cpu.Rip:x} {Symbol(_cpu.Rip)}");
        for (int i = 0; i < _registers.Length; i++)
            if (_cpu.Register(i) != _registers[i]) _line.Append(CultureInfo.InvariantCulture, $" {s_names[i]}={_cpu.Register(i):x}");
        if (_cpu.RflagsValue != _flags) _line.Append(CultureInfo.InvariantCulture, $" rflags={_cpu.RflagsValue:x}");
        if (Deliveries == _deliveries)
            foreach (var (address, length) in _written) AppendMemory(address, length, "<-");
        options.Output.WriteLine(_line.ToString().TrimEnd());
        _lines++;
        if (IsFull) machine.Hooks.Tracer = null;
    }

    ulong Deliveries => Sum([ExitReason.Interrupt, ExitReason.Exception, ExitReason.PageFault]);

    ulong Sum(ReadOnlySpan<ExitReason> reasons)
    {
        ulong sum = 0;
        foreach (ExitReason reason in reasons) sum += machine.Exits[reason];
        return sum;
    }

    void Decode()
    {
        int read = machine.LinearMemory.Read(_cpu.LinearRip, _bytes);
        var decoder = Iced.Intel.Decoder.Create(_cpu.CodeBits, new ByteArrayCodeReader(_bytes, 0, read), _rip);
        decoder.Decode(out _instruction);
    }

    void AppendInstruction()
    {
        _formatter.Format(_instruction, _formatted);
        _line.Append(CultureInfo.InvariantCulture, $"{_formatted.ToStringAndReset(),-44}");
        if (_instruction.FlowControl is not (FlowControl.Call or FlowControl.UnconditionalBranch or FlowControl.ConditionalBranch)) return;
        if (Symbol(_instruction.NearBranchTarget) is { Length: > 0 } target) _line.Append(' ').Append(target);
    }

    /// <summary>Shows what the instruction will read, and notes where it will write.</summary>
    void AppendReads()
    {
        _written.Clear();
        foreach (UsedMemory used in _facts.GetInfo(_instruction).GetUsedMemory())
        {
            int length = Math.Min(used.MemorySize.GetSize(), 8);
            if (length == 0 || !used.TryGetVirtualAddress(0, out ulong address, Value)) continue;
            if (used.Access is OpAccess.Read or OpAccess.ReadWrite or OpAccess.CondRead or OpAccess.ReadCondWrite)
                AppendMemory(address, length, "=");
            if (used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite)
                _written.Add((address, length));
        }
    }

    void AppendMemory(ulong address, int length, string relation)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        if (!machine.LinearMemory.TryRead(address, bytes[..length])) return;
        ulong value = BitConverter.ToUInt64(bytes);
        _line.Append(CultureInfo.InvariantCulture, $" [{address:x}]{relation}{value.ToString($"x{2 * length}", CultureInfo.InvariantCulture)}");
    }

    bool Value(Iced.Intel.Register register, int elementIndex, int elementSize, out ulong value)
    {
        bool isSegment = register.IsSegmentRegister();
        bool isGeneral = register.IsGPR() && register is < Iced.Intel.Register.AH or > Iced.Intel.Register.BH;
        ulong whole = isSegment ? _cpu.SegmentRegister(register - Iced.Intel.Register.ES).Base
            : isGeneral ? _registers[register.GetFullRegister() - Iced.Intel.Register.RAX] : 0;
        int size = register.GetSize();
        value = isSegment || size == 8 ? whole : whole & (1UL << 8 * size) - 1;
        return isSegment || isGeneral;
    }

    string Symbol(ulong address) => symbols()?.At(address) is var (name, offset)
        ? string.Create(CultureInfo.InvariantCulture, $"{name}+0x{offset:x}")
        : "";
}
