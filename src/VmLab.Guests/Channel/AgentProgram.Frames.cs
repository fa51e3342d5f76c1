using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.Guests.Channel.AgentLayout;

namespace VmLab.Guests.Channel;

// The agent's wire: frames taken apart, frames put together.
sealed partial class AgentProgram
{
    // edi: the next byte from the line. A frame is handled when its closing flag comes and its checksum is right.
    void WriteReceive()
    {
        Label flag = a.CreateLabel(), escape = a.CreateLabel(), tooLong = a.CreateLabel(), reset = a.CreateLabel();
        a.Label(ref _receive);
        a.cmp(edi, ChannelFrame.Flag);
        a.je(flag);
        a.cmp(edi, ChannelFrame.Escape);
        a.je(escape);
        a.xor(edi, __dword_ptr[EscapePending]);
        a.mov(__dword_ptr[EscapePending], 0);
        a.mov(eax, __dword_ptr[FrameLength]);
        a.cmp(eax, ChannelFrame.MostBytes);
        a.jae(tooLong);
        a.mov(__byte_ptr[rax + Frame], dil);
        a.inc(__dword_ptr[FrameLength]);
        a.mov(eax, __dword_ptr[FrameChecksum]);
        a.movzx(edx, al);
        a.xor(edx, edi);
        a.shr(eax, 8);
        a.lea(rcx, __[_checksums]);
        a.xor(eax, __dword_ptr[rcx + rdx * 4]);
        a.mov(__dword_ptr[FrameChecksum], eax);
        a.ret();

        a.Label(ref escape);
        a.mov(__dword_ptr[EscapePending], ChannelFrame.EscapeBit);
        a.ret();

        a.Label(ref tooLong);                                   // no more bytes, and never a right checksum
        a.mov(__dword_ptr[FrameChecksum], 0);
        a.ret();

        a.Label(ref flag);
        a.cmp(__dword_ptr[FrameLength], ChannelFrame.HeaderSize + ChannelFrame.ChecksumSize);
        a.jb(reset);
        a.cmp(__dword_ptr[FrameChecksum], unchecked((int)ChannelFrame.GoodChecksum));
        a.jne(reset);
        a.call(_handle);
        a.Label(ref reset);
        a.mov(__dword_ptr[FrameLength], 0);
        a.mov(__dword_ptr[FrameChecksum], -1);
        a.mov(__dword_ptr[EscapePending], 0);
        a.ret();
    }

    // edi: kind; esi: id; edx: argument; rcx: payload; r8d: its length, at most ChunkSize. Waits until the line has
    // taken all.
    void WriteSend()
    {
        Label write = a.CreateLabel(), done = a.CreateLabel();
        a.Label(ref _send);
        a.mov(__dword_ptr[Header], edi);
        a.mov(__dword_ptr[Header + 4], esi);
        a.mov(__dword_ptr[Header + 8], edx);
        a.mov(r9d, Sending);
        a.mov(__byte_ptr[r9], ChannelFrame.Flag);
        a.inc(r9);
        a.mov(r10d, -1);
        a.mov(esi, Header);
        a.mov(edx, ChannelFrame.HeaderSize);
        a.call(_stuff);
        a.mov(rsi, rcx);
        a.mov(edx, r8d);
        a.call(_stuff);
        a.not(r10d);
        a.mov(__dword_ptr[Header], r10d);
        a.mov(esi, Header);
        a.mov(edx, ChannelFrame.ChecksumSize);
        a.call(_stuff);
        a.mov(__byte_ptr[r9], ChannelFrame.Flag);
        a.inc(r9);

        a.mov(esi, Sending);
        a.Label(ref write);
        a.mov(rdx, r9);
        a.sub(rdx, rsi);
        a.jz(done);
        a.mov(edi, 1);
        Call(SysWrite);
        a.cmp(eax, -Interrupted);
        a.je(write);
        a.cmp(eax, -TryAgain);
        a.je(write);
        a.test(eax, eax);
        a.js(_exit);
        a.add(rsi, rax);
        a.jmp(write);
        a.Label(ref done);
        a.ret();
    }

    // rsi: bytes; edx: how many. Appends them, escaped, at r9, and runs the checksum r10d over them. Keeps rcx and r8.
    void WriteStuff()
    {
        Label next = a.CreateLabel(), escape = a.CreateLabel(), plain = a.CreateLabel(), done = a.CreateLabel();
        a.Label(ref _stuff);
        a.lea(r11, __[_checksums]);
        a.test(edx, edx);
        a.jz(done);
        a.Label(ref next);
        a.movzx(eax, __byte_ptr[rsi]);
        a.inc(rsi);
        a.movzx(edi, r10b);
        a.xor(edi, eax);
        a.shr(r10d, 8);
        a.xor(r10d, __dword_ptr[r11 + rdi * 4]);
        a.cmp(eax, ChannelFrame.Flag);
        a.je(escape);
        a.cmp(eax, ChannelFrame.Escape);
        a.jne(plain);
        a.Label(ref escape);
        a.mov(__byte_ptr[r9], ChannelFrame.Escape);
        a.inc(r9);
        a.xor(eax, ChannelFrame.EscapeBit);
        a.Label(ref plain);
        a.mov(__byte_ptr[r9], al);
        a.inc(r9);
        a.dec(edx);
        a.jnz(next);
        a.Label(ref done);
        a.ret();
    }

    // Sends a frame without payload; esi and edx are set.
    void SendEmpty(ChannelKind kind)
    {
        a.mov(edi, (int)kind);
        a.xor(r8d, r8d);
        a.call(_send);
    }
}
