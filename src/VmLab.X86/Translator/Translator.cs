using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;

namespace VmLab.X86;

/// <summary>Translates blocks of 64-bit code that are visited often to code of the host.</summary>
/// <remarks>
/// A translation does what the block's ops do, at the same budget, and leaves to the op of the instruction that it cannot do: one that
/// misses the TLB, or has no translation. In translated code RIP in the state is the start of the page, so that no block within it has
/// to change it. Between blocks the arithmetic flags are in <see cref="CpuState.HostFlags"/>, unless the next overwrites them; for
/// where they are within one see <see cref="FlagTracker"/>.
/// </remarks>
sealed unsafe partial class Translator : IDisposable
{
    /// <summary>Visits before a block is translated.</summary>
    public const int Warmth = 16;

    const int CodeBytes = 64 << 20, ReleasedBytes = 256 << 10, MostBytesPerInstruction = 1024, MostInstructions = 64, PrologueBytes = 16;
    const ulong AddressMask = (1UL << CodeKey.Shift) - 1;

    readonly CpuState* _s;
    readonly CodeCache _blocks;
    readonly CodeMemory _memory = new(CodeBytes);
    readonly BytesReader _reader = new();
    readonly Decoder _decoder;
    readonly InstructionInfoFactory _infos = new();
    readonly Instruction[] _instructions = new Instruction[MostInstructions];
    readonly bool[] _deadFlags = new bool[MostInstructions], _areNeeded = new bool[MostInstructions];
    readonly Way[] _ways = new Way[MostInstructions];
    readonly Shape[] _shapes = new Shape[MostInstructions];
    readonly VectorShape[] _vectorShapes = new VectorShape[MostInstructions];
    readonly List<Departure> _departures = [];
    readonly List<(nint Lea, int Place)> _landings = [];   // where calls of the block return to
    readonly Dictionary<ulong, List<Crossroad>> _crossroads = [];   // by the key of the block that is not translated yet
    Emitter _e;
    Stubs _stubs;
    byte* _empty;         // where the stubs end
    byte* _released;      // where the code ended when its memory was given back last
    FlagTracker _flags;
    Op* _ops;             // of the block, one an instruction
    Block* _block;
    byte* _prologue, _code;
    ulong _blockStart;    // in its page
    CodeMode _mode;

    /// <summary>A branch out of the fast path.</summary>
    /// <param name="Op">What the stub takes.</param>
    /// <param name="Place">The instruction or block to go on with, in bytes from the start of the page.</param>
    /// <param name="Refund">What the budget gets back.</param>
    /// <param name="Flags">Where the flags are.</param>
    /// <param name="Window">Bytes of the window that was looked for; 0 for none.</param>
    readonly record struct Departure(nint Branch, nint Op, nint Stub, int Place, int Refund, FlagTracker Flags, int Window = 0)
    {
        public bool IsLike(in Departure other) =>
            Op == other.Op && Stub == other.Stub && Place == other.Place && Refund == other.Refund
            && Flags.InState == other.Flags.InState && Flags.Recipe.Index == other.Flags.Recipe.Index && Flags.Recipe.Kind == other.Flags.Recipe.Kind
            && Flags.Recipe.Kept == other.Flags.Recipe.Kept && Window == other.Window;
    }

    /// <summary>A jump to a block that is not translated yet.</summary>
    /// <param name="Jump">Where the jump ends.</param>
    /// <param name="Body">Where a jump behind it ends that goes past the block's prologue; 0 where the first goes to the prologue.</param>
    readonly record struct Crossroad(nint Jump, nint Body);

    public Translator(CpuState* state, CodeCache blocks)
    {
        _s = state;
        _blocks = blocks;
        _decoder = Decoder.Create(64, _reader, BlockBuilder.Options);
        _e = new Emitter(_memory.Writable, _memory.Writable + _memory.Size);
        _stubs = Stubs.Emit(ref _e);
        _empty = _released = _e.At;
        state->EnterTranslated = Executable(_stubs.Enter);
        blocks.Untranslated = Executable(_stubs.Interpret);
        CrashGuard.Watch(_memory.Executable, _memory.Executable + _memory.Size, Executable(_stubs.Crash));
    }

    /// <summary>Whether the host has what translated code is made of.</summary>
    public static bool IsSupported => OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;

    public bool IsFull => _e.Room < MostInstructions * MostBytesPerInstruction;

    /// <summary>Blocks translated since the start.</summary>
    public ulong Count { get; private set; }

    /// <summary>Bytes of code at present.</summary>
    public int Size => (int)(_e.At - _memory.Writable);

    /// <summary>Where the host would run what is translated next.</summary>
    public byte* End => Executable(_e.At);

    /// <summary>Has the calling thread's translated code find this processor's state, until another's is bound to it.</summary>
    public void Bind() => ((delegate* unmanaged<CpuState*, void>)Executable(_stubs.Bind))(_s);

    /// <summary>Forgets all translations: nothing leads to them any more.</summary>
    public void Flush()
    {
        _e.At = _released = _empty;
        _crossroads.Clear();
    }

    /// <summary>Makes a block's first op the way into its translation.</summary>
    /// <returns><see langword="false"/> if it has none.</returns>
    public bool Translate(Block* block)
    {
        if (IsFull || block->Count > MostInstructions || !Decode(block)) return false;
        FlagLiveness.Find(_instructions.AsSpan(0, block->Count), _deadFlags, PageOffsets.None);
        Analyse(block->Count);
        _departures.Clear();
        _landings.Clear();
        _flags = FlagTracker.AtBoundary;

        _prologue = _e.At;
        EmitBudget(block, (int)_blockStart);
        if (!EmitBody(block->Count, block->Length))
        {
            _e.At = _prologue;
            return false;
        }
        EmitDepartures();
        foreach (var (lea, place) in _landings) EmitLanding((byte*)lea, place);

        block->Native = Executable(_prologue);
        Op* lead = Block.Ops(block);
        lead->Run = &TranslatorOps.Enter;
        lead->Immediate = (ulong)block->Native + PrologueBytes;
        OpenCrossroads(block);
        Count++;
        if (_e.At - _released >= ReleasedBytes)
        {
            _memory.Release(_e.At);
            _released = _e.At;
        }
        return true;
    }

    public void Dispose()
    {
        CrashGuard.Forget(_memory.Executable);
        _memory.Dispose();
    }

    /// <summary>What happened when translated code crashed: an error of ours, or of the host's memory.</summary>
    public InvalidOperationException Crash()
    {
        Block* block = _blocks.BlockOf(_s->CrashedAt);
        string place = block == null ? "outside every block" : $"in the block of guest code at {_s->Rip + (block->Key & 0xFFF):X16}";
        return new($"Translated code crashed {place}, {_s->CrashedAt - _memory.Executable} bytes into the host's code: it touched memory "
            + "that the host has not. The engine interpreter runs the same guest without translated code.");
    }

    bool Decode(Block* block)
    {
        var code = (byte*)(block->Key & AddressMask);
        _block = block;
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

    /// <summary>Takes a block's counts from the budget, or leaves before the block.</summary>
    /// <param name="place">The block's, in bytes from the start of the page.</param>
    void EmitBudget(Block* block, int place)
    {
        byte* start = _e.At;
        _e.Immediate(Operation.Sub, Place.State(StateOffset.Budget), block->Count);
        _departures.Add(new((nint)_e.JumpIf(Condition.Sign), 0, (nint)_stubs.Next, place, block->Count, _flags));
        System.Diagnostics.Debug.Assert(_e.At - start == PrologueBytes);
    }

    /// <returns><see langword="false"/> when nothing of it can be translated.</returns>
    bool EmitBody(int count, int length)
    {
        int last = count - 1, translated = 0;
        for (int i = 0; i <= last; i++)
        {
            if (i == last && EndsBlock(_instructions[i])) return EmitEnd(_instructions[i], i) || translated > 0 && LeaveTo(i);
            int together = CountTogether(i, count);
            if (together > 1)
            {
                EmitTogether(i, together);
                translated += together;
                i += together - 1;
                continue;
            }
            if (TryEmit(i))
            {
                translated++;
                continue;
            }
            int next = i + 1;
            while (next <= last && !EndsBlock(_instructions[next]) && _ways[next] == Way.Interpreted) next++;
            if (next >= last) return translated > 0 && LeaveTo(i);   // what ends the block may be joined to what is before it
            LeaveFor(i, next);
            i = next - 1;
        }
        EmitStraight(_ops + count, (int)_blockStart + length);
        return true;
    }

    /// <summary>Has the interpreter run the block's rest.</summary>
    bool LeaveTo(int index)
    {
        SaveFlags();
        EmitExit(_ops + index);
        return true;
    }

    /// <summary>Has the interpreter run some instructions, and then comes back.</summary>
    void LeaveFor(int first, int next)
    {
        int count = next - first;
        Op* ops = _blocks.AllocateOps(count + 1);
        new ReadOnlySpan<Op>(_ops + first, count).CopyTo(new Span<Op>(ops, count));
        SaveFlags();
        EmitExit(ops);
        Op* back = ops + count;
        *back = default;
        back->Run = &TranslatorOps.Enter;
        back->Immediate = (ulong)Executable(_e.At);
        _flags = FlagTracker.AtBoundary;
    }

    /// <summary>Whether an instruction is one that a block ends with.</summary>
    static bool EndsBlock(in Instruction i) =>
        i.FlowControl != FlowControl.Next || i.IsStringInstruction && (i.HasRepPrefix || i.HasRepnePrefix);

    /// <summary>Goes on with an op of this block in the interpreter.</summary>
    void EmitExit(Op* op)
    {
        EmitMove((int)_blockStart);
        _e.MoveImmediate(Host.R14, (ulong)op);
        _e.Jump(_stubs.Exit);
    }

    /// <summary>Adds to RIP, which in translated code is the start of the page.</summary>
    void EmitMove(int bytes)
    {
        if (bytes != 0) _e.Immediate(Operation.Add, Place.State(StateOffset.Rip), bytes);
    }

    /// <summary>Has the interpreter do the instruction from its start if the condition holds.</summary>
    void ExitIf(int condition, Op* op) =>
        _departures.Add(new((nint)_e.JumpIf(condition), (nint)op, (nint)_stubs.Exit, (int)_blockStart, 0, _flags));

    void EmitDepartures()
    {
        for (int i = 0; i < _departures.Count; i++)
        {
            Departure departure = _departures[i];
            _e.Land((byte*)departure.Branch);
            while (i + 1 < _departures.Count && _departures[i + 1].IsLike(departure)) _e.Land((byte*)_departures[++i].Branch);
            _flags = departure.Flags.Clobbered;
            if (departure.Window != 0) _e.Store(Place.State(StateOffset.Spill), Host.R14);
            SaveFlags();
            if (departure.Refund != 0) _e.Immediate(Operation.Add, Place.State(StateOffset.Budget), departure.Refund);
            if (departure.Stub == 0)
            {
                EmitLinked((Op*)departure.Op, departure.Place);
                continue;
            }
            EmitMove(departure.Place);
            if (departure.Window != 0)
            {
                EmitWindowExit((Op*)departure.Op, departure.Window);
                continue;
            }
            if (departure.Op != 0) _e.MoveImmediate(Host.R14, (ulong)departure.Op);
            _e.Jump((byte*)departure.Stub);
        }
    }

    /// <summary>Has the jumps that waited for a block's translation lead there.</summary>
    void OpenCrossroads(Block* block)
    {
        if (!_crossroads.Remove(block->Key, out List<Crossroad>? waiting)) return;
        ReadOnlySpan<byte> nop = [0x0F, 0x1F, 0x44, 0x00, 0x00];
        foreach (Crossroad crossroad in waiting)
        {
            var jump = (byte*)crossroad.Jump;
            if (crossroad.Body == 0) Aim(jump, _prologue);
            else
            {
                nop.CopyTo(new Span<byte>(jump - nop.Length, nop.Length));
                Aim((byte*)crossroad.Body, _prologue + PrologueBytes);
            }
        }

        static void Aim(byte* jump, byte* target) => *(int*)(jump - 4) = (int)(target - jump);
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
    public const int Add = 0, Or = 1, And = 4, Sub = 5, Cmp = 7;
}
