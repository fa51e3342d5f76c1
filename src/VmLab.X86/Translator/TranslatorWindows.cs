using Iced.Intel;

namespace VmLab.X86;

/// <summary>Bytes near each other that instructions of a block touch through the same registers: one look at the TLB serves them all.</summary>
/// <param name="Slot">Where in <see cref="CpuState.Windows"/> the host address of the first byte is.</param>
/// <param name="First">Displacement of the first byte.</param>
/// <param name="End">Displacement behind the last.</param>
/// <param name="Moved">By how much the base has moved since the window was opened.</param>
readonly record struct Window(
    Iced.Intel.Register Base, Iced.Intel.Register Index, int Scale, int Segment, long First, long End, bool IsWritten,
    int Slot = 0, int Touches = 1, long Moved = 0)
{
    const int MostBytes = 256;

    public int Bytes => (int)(End - First);

    /// <summary>Whether it opens with this: another instruction, no matter where it points.</summary>
    public bool IsShared => Touches > 1;

    /// <summary>Whether an instruction that writes guest registers, of these bits, leaves the addresses of its bytes to be known.</summary>
    /// <param name="step">What it adds to one of them.</param>
    public bool Survives(int written, in Step step, out Window moved)
    {
        moved = this;
        int changed = (BitOf(Base) | BitOf(Index)) & written;
        if (changed == 0) return true;
        moved = this with { Moved = Moved + step.Bytes };
        return step.Register == Base && changed == BitOf(Base) && Index != Base;
    }

    public static Window Of(in Instruction i, bool isWritten)
    {
        long first = Translator.DisplacementOf(i);
        int segment = Form.SegmentOf(i.MemorySegment);
        if (segment is not (X86.Segment.Fs or X86.Segment.Gs)) segment = X86.Segment.Ds;
        return new(i.MemoryBase, i.MemoryIndex, i.MemoryIndexScale, segment, first, first + i.MemorySize.GetSize(), isWritten);
    }

    /// <summary>Quadwords that are pushed or popped.</summary>
    public static Window OfStack(bool isPush, int count) => new(
        Iced.Intel.Register.RSP, Iced.Intel.Register.None, 1, X86.Segment.Ds, isPush ? -8 * count : 0, isPush ? 0 : 8 * count, isPush);

    /// <summary>Widens it by another access.</summary>
    /// <returns><see langword="false"/> where that is of other registers, or too far away.</returns>
    public bool TryWiden(in Window other, out Window both)
    {
        both = this with
        {
            First = Math.Min(First, other.First + Moved),
            End = Math.Max(End, other.End + Moved),
            IsWritten = IsWritten || other.IsWritten,
            Touches = Touches + 1,
        };
        bool isSame = Base == other.Base && Index == other.Index && Scale == other.Scale && Segment == other.Segment;
        return isSame && both.Bytes <= MostBytes && both.First >= int.MinValue;
    }

    /// <summary>An instruction that adds a number to a register.</summary>
    public readonly record struct Step(Iced.Intel.Register Register, long Bytes)
    {
        /// <returns>Register None for any other.</returns>
        public static Step Of(in Instruction i) => i.Code switch
        {
            Code.Push_r64 or Code.Pushq_imm8 or Code.Pushq_imm32 => new(Iced.Intel.Register.RSP, -8),
            Code.Pop_r64 when i.Op0Register != Iced.Intel.Register.RSP => new(Iced.Intel.Register.RSP, 8),
            Code.Add_rm64_imm8 or Code.Add_rm64_imm32 or Code.Add_RAX_imm32 => new(i.Op0Register, (long)i.GetImmediate(1)),
            Code.Sub_rm64_imm8 or Code.Sub_rm64_imm32 or Code.Sub_RAX_imm32 => new(i.Op0Register, -(long)i.GetImmediate(1)),
            Code.Inc_rm64 => new(i.Op0Register, 1),
            Code.Dec_rm64 => new(i.Op0Register, -1),
            Code.Lea_r64_m when i.MemoryBase == i.Op0Register && i.MemoryIndex == Iced.Intel.Register.None =>
                new(i.Op0Register, Translator.DisplacementOf(i)),
            _ => default,
        };
    }

    static int BitOf(Iced.Intel.Register register) => Iced.Intel.RegisterExtensions.IsGPR64(register) ? 1 << (Form.OffsetOf(register) >> 3) : 0;
}

// A window that turns out to reach into another page is left to the interpreter, and its block, in the end, to a translation without.
sealed unsafe partial class Translator
{
    const int Patience = 16;

    readonly List<Window> _windows = [];
    readonly int[] _windowOf = new int[MostInstructions];   // -1 for none
    readonly long[] _places = new long[MostInstructions];   // of accesses, as displacements when their window was opened
    Place _operand;   // in memory, of the present instruction

    /// <summary>Finds the accesses of the block that share a look at the TLB.</summary>
    void FindWindows(int count)
    {
        Span<int> open = stackalloc int[CpuState.WindowCount];
        open.Fill(-1);
        _windows.Clear();
        for (int k = 0; k < count; k++)
        {
            int together = CountTogether(k, count);
            Window? access = _block->DoesWithoutWindows ? null : AccessOf(k, together, isLast: k == count - 1);
            _windowOf[k] = access is { } found ? OpenWindow(found, k, open) : -1;
            CloseWindows(k, open);
            for (; together > 1; together--)
            {
                _windowOf[++k] = -1;
                CloseWindows(k, open);
            }
        }
    }

    /// <summary>Has an access share an open window, or opens one for it.</summary>
    /// <returns>Its place in the list.</returns>
    int OpenWindow(in Window access, int index, Span<int> open)
    {
        foreach (int window in open)
        {
            if (window < 0 || !_windows[window].TryWiden(access, out Window both)) continue;
            _places[index] = access.First + both.Moved;
            _windows[window] = both;
            return window;
        }
        int slot = _windows.Count % open.Length;
        _places[index] = access.First;
        open[slot] = _windows.Count;
        _windows.Add(access with { Slot = slot });
        return open[slot];
    }

    /// <summary>Closes the windows that an instruction leaves nothing known of.</summary>
    void CloseWindows(int index, Span<int> open)
    {
        ref readonly Instruction i = ref _instructions[index];
        var step = Window.Step.Of(i);
        int written = WrittenBy(i);
        foreach (ref int window in open)
        {
            if (window < 0) continue;
            if (_ways[index] == Way.Interpreted || !_windows[window].Survives(written, step, out Window moved)) window = -1;
            else _windows[window] = moved;
        }
    }

    /// <summary>What an instruction, or pushes or pops in a row, touch, if the translation can find it by a window.</summary>
    Window? AccessOf(int index, int together, bool isLast)
    {
        ref readonly Instruction i = ref _instructions[index];
        switch (_ways[index])
        {
            case Way.Encoded when _shapes[index].IsMemory && IsWideAddress(i):
                return Window.Of(i, _shapes[index].RmIsWritten);
            case Way.Vector when _vectorShapes[index].Rm < 0 && IsWideAddress(i) && !(i.MemorySize.GetSize() == 16 && MustBeAligned(i.Mnemonic)):
                return Window.Of(i, _vectorShapes[index].RmIsWritten);
        }
        return i.Code switch
        {
            Code.Push_r64 or Code.Pushq_imm8 or Code.Pushq_imm32 => Window.OfStack(isPush: true, together),
            Code.Pop_r64 => Window.OfStack(isPush: false, together),
            Code.Call_rel32_64 when isLast => Window.OfStack(isPush: true, 1),
            Code.Retnq or Code.Retnq_imm16 when isLast => Window.OfStack(isPush: false, 1),
            _ => null,
        };
    }

    static bool IsWideAddress(in Instruction i) => i.MemoryBase.GetSize() != 4 && i.MemoryIndex.GetSize() != 4;

    /// <summary>
    /// Finds the operand of an instruction that shares a window: from the window's slot, or, for the first, by a look at the TLB.
    /// </summary>
    /// <returns><see langword="false"/> if it shares none.</returns>
    bool TryEmitWindow(Op* op)
    {
        var index = (int)(op - _ops);
        if (_windowOf[index] < 0 || _windows[_windowOf[index]] is not { IsShared: true } window) return false;
        if (Array.IndexOf(_windowOf, _windowOf[index]) == index)
        {
            EmitLinear(window);
            EmitLookup(window.IsWritten ? WriteTag : ReadTag, window.Bytes, op);
            _departures[^1] = _departures[^1] with { Window = window.Bytes };
            _e.Store(SlotOf(window), Host.R14);
        }
        else _e.Load(Host.R14, SlotOf(window));
        _operand = Place.At(Host.R14, (int)(_places[index] - window.First));
        return true;
    }

    static Place SlotOf(Window window) => Place.State(StateOffset.Windows + 8 * window.Slot);

    /// <summary>Leaves for the op where the TLB misses, and where the window is too wide for its page for one that counts that.</summary>
    /// <remarks>The spill has what the look at the TLB left: of the linear address, the low 12 bits.</remarks>
    void EmitWindowExit(Op* op, int bytes)
    {
        Op* count = _blocks.AllocateOps(1);
        *count = default;
        count->Run = &TranslatorOps.Cross;
        count->Length = op->Length;
        count->Immediate = Patience;
        count->Displacement = (long)op;
        count->Link = _block;
        _e.Load(Host.R14, Place.State(StateOffset.Spill));
        _e.Immediate(Operation.And, Place.Register(Host.R14), 0xFFF, isWide: false);
        _e.Immediate(Operation.Cmp, Place.Register(Host.R14), 4096 - bytes, isWide: false);
        _e.MoveImmediate(Host.R14, (ulong)op);
        _e.JumpIf(Condition.BelowOrEqual, _stubs.Exit);
        _e.MoveImmediate(Host.R14, (ulong)count);
        _e.Jump(_stubs.Exit);
    }

    /// <summary>Translates a block anew, without windows; whoever enters its old translation comes to the new one.</summary>
    public void Narrow(Block* block)
    {
        byte* old = Writable(block->Native);
        block->DoesWithoutWindows = true;
        if (!Translate(block)) return;
        byte* last = _e.At, narrow = Writable(block->Native);
        for (int entry = 0; entry <= PrologueBytes; entry += PrologueBytes)
        {
            _e.At = old + entry;
            _e.Jump(narrow + entry);
        }
        _e.At = last;
    }
}
