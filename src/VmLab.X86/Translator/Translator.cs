using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;

namespace VmLab.X86;

/// <summary>Translates blocks of 64-bit code that are visited often to code of the host.</summary>
/// <remarks>
/// A translation does what the block's ops do, at the same budget, and leaves to the op of the instruction that it cannot do: one that
/// misses the TLB, or has no translation. RIP in the state is the block's, as in the interpreter. Between blocks the arithmetic flags
/// are in <see cref="CpuState.HostFlags"/>; within one they are in the host's too, see <see cref="FlagTracker"/>.
/// </remarks>
sealed unsafe partial class Translator : IDisposable
{
    /// <summary>Visits before a block is translated.</summary>
    public const int Warmth = 16;

    const int CodeBytes = 64 << 20, MostBytesPerInstruction = 512, MostInstructions = 64;
    const ulong AddressMask = (1UL << CodeKey.Shift) - 1;

    readonly CpuState* _s;
    readonly CodeCache _blocks;
    readonly CodeMemory _memory = new(CodeBytes);
    readonly BytesReader _reader = new();
    readonly Decoder _decoder;
    readonly InstructionInfoFactory _infos = new();
    readonly Instruction[] _instructions = new Instruction[MostInstructions];
    readonly bool[] _deadFlags = new bool[MostInstructions];
    readonly List<Departure> _departures = [];
    Emitter _e;
    Stubs _stubs;
    byte* _empty;         // where the stubs end
    FlagTracker _flags;
    Op* _ops;             // of the block, one an instruction
    byte* _prologue, _code;
    ulong _blockStart;
    CodeMode _mode;

    /// <summary>A branch out of the fast path, to a stub that takes an op.</summary>
    readonly record struct Departure(nint Branch, nint Op, nint Stub);

    public Translator(CpuState* state, CodeCache blocks)
    {
        _s = state;
        _blocks = blocks;
        _decoder = Decoder.Create(64, _reader, BlockBuilder.Options);
        _e = new Emitter(_memory.Writable, _memory.Writable + _memory.Size);
        _stubs = Stubs.Emit(ref _e);
        _empty = _e.At;
        state->EnterTranslated = Executable(_stubs.Enter);
        blocks.Untranslated = Executable(_stubs.Interpret);
    }

    /// <summary>Whether the host has what translated code is made of.</summary>
    public static bool IsSupported => OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;

    public bool IsFull => _e.Room < MostInstructions * MostBytesPerInstruction;

    /// <summary>Blocks translated since the start.</summary>
    public ulong Count { get; private set; }

    /// <summary>Has the calling thread's translated code find this processor's state, until another's is bound to it.</summary>
    public void Bind() => ((delegate* unmanaged<CpuState*, void>)Executable(_stubs.Bind))(_s);

    /// <summary>Forgets all translations: nothing leads to them any more.</summary>
    public void Flush() => _e.At = _empty;

    /// <summary>Makes a block's first op the way into its translation.</summary>
    /// <returns><see langword="false"/> if it has none.</returns>
    public bool Translate(Block* block)
    {
        if (IsFull || block->Count > MostInstructions || !Decode(block)) return false;
        ReadOnlySpan<Instruction> instructions = _instructions.AsSpan(0, block->Count);
        FlagLiveness.Find(instructions, _deadFlags, PageOffsets.None);
        _departures.Clear();
        _flags = FlagTracker.AtBoundary;

        byte* start = _e.At;
        byte* isShort = EmitPrologue(block->Count);
        ulong body = (ulong)Executable(_e.At);
        if (!EmitBody(instructions, block->Length))
        {
            _e.At = start;
            return false;
        }
        _e.Land(isShort);
        _e.Immediate(Operation.Add, Place.State(StateOffset.Budget), block->Count);
        _e.Jump(_stubs.Next);
        EmitDepartures();

        block->Native = Executable(start);
        Op* lead = Block.Ops(block);
        lead->Run = &TranslatorOps.Enter;
        lead->Immediate = body;
        Count++;
        return true;
    }

    public void Dispose() => _memory.Dispose();

    bool Decode(Block* block)
    {
        var code = (byte*)(block->Key & AddressMask);
        _mode = (CodeMode)(block->Key >> CodeKey.Shift);
        _ops = Block.Ops(block) + 1;
        _blockStart = block->Key & GuestMemory.PageSize - 1;
        _code = code;
        _reader.Set(code, code + block->Length);
        _decoder.IP = _blockStart;
        for (int i = 0; i < block->Count; i++)
        {
            _decoder.Decode(out _instructions[i]);
            bool hasOp = _ops[i].Offset == (ushort)(_instructions[i].IP - _blockStart) && _ops[i].Length == _instructions[i].Length;
            if (_instructions[i].IsInvalid || !hasOp) return false;   // a breakpoint stands between
        }
        return true;
    }

    byte* EmitPrologue(int count)
    {
        _prologue = _e.At;
        _e.Immediate(Operation.Sub, Place.State(StateOffset.Budget), count);
        return _e.JumpIf(Condition.Sign);
    }

    /// <returns><see langword="false"/> when nothing of it can be translated.</returns>
    bool EmitBody(ReadOnlySpan<Instruction> instructions, int length)
    {
        int last = instructions.Length - 1, translated = 0;
        for (int i = 0; i <= last; i++)
        {
            if (i == last && EndsBlock(instructions[i])) return EmitEnd(instructions[i], i) || translated > 0 && LeaveTo(i);
            if (TryEmit(instructions[i], i))
            {
                translated++;
                continue;
            }
            int next = i + 1;
            while (next <= last && !EndsBlock(instructions[next]) && !CanEmit(instructions[next], next)) next++;
            if (next >= last) return translated > 0 && LeaveTo(i);   // what ends the block may be joined to what is before it
            LeaveFor(i, next);
            i = next - 1;
        }
        EmitStraight(_ops + instructions.Length, length);
        return true;
    }

    /// <summary>Has the interpreter run the block's rest.</summary>
    bool LeaveTo(int index)
    {
        SaveFlags();
        _e.MoveImmediate(Host.R14, (ulong)(_ops + index));
        _e.Jump(_stubs.Exit);
        return true;
    }

    /// <summary>Has the interpreter run some instructions, and then comes back.</summary>
    void LeaveFor(int first, int next)
    {
        int count = next - first;
        Op* ops = _blocks.AllocateOps(count + 1);
        new ReadOnlySpan<Op>(_ops + first, count).CopyTo(new Span<Op>(ops, count));
        SaveFlags();
        _e.MoveImmediate(Host.R14, (ulong)ops);
        _e.Jump(_stubs.Exit);
        Op* back = ops + count;
        *back = default;
        back->Run = &TranslatorOps.Enter;
        back->Immediate = (ulong)Executable(_e.At);
        _flags = FlagTracker.AtBoundary;
    }

    /// <summary>Whether an instruction is one that a block ends with.</summary>
    static bool EndsBlock(in Instruction i) =>
        i.FlowControl != FlowControl.Next || i.IsStringInstruction && (i.HasRepPrefix || i.HasRepnePrefix);

    /// <summary>Branches to a stub that takes an op, out of the way of the code.</summary>
    void DepartIf(int condition, Op* op, byte* stub) => _departures.Add(new((nint)_e.JumpIf(condition), (nint)op, (nint)stub));

    /// <summary>Has the interpreter do the instruction from its start if the condition holds; the flags must be saved.</summary>
    void ExitIf(int condition, Op* op) => DepartIf(condition, op, _stubs.Exit);

    void EmitDepartures()
    {
        for (int i = 0; i < _departures.Count; i++)
        {
            Departure departure = _departures[i];
            _e.Land((byte*)departure.Branch);
            while (i + 1 < _departures.Count && _departures[i + 1].Op == departure.Op && _departures[i + 1].Stub == departure.Stub)
                _e.Land((byte*)_departures[++i].Branch);
            _e.MoveImmediate(Host.R14, (ulong)departure.Op);
            _e.Jump((byte*)departure.Stub);
        }
    }

    byte* Executable(byte* written) => written - _memory.Writable + _memory.Executable;

    byte* Writable(byte* executed) => executed - _memory.Executable + _memory.Writable;

    /// <summary>Lets the decoder read from unmanaged memory.</summary>
    sealed class BytesReader : CodeReader
    {
        byte* _next, _end;

        public void Set(byte* start, byte* end)
        {
            _next = start;
            _end = end;
        }

        public override int ReadByte() => _next < _end ? *_next++ : -1;
    }
}

/// <summary>Numbers of two-operand operations, as in the extensions of opcodes 80 to 83.</summary>
static class Operation
{
    public const int Add = 0, And = 4, Sub = 5, Cmp = 7;
}
