using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.Guests.Channel.AgentLayout;

namespace VmLab.Guests.Channel;

// The agent's files: written in pieces as they come, read in pieces as the line has room.
sealed partial class AgentProgram
{
    // Makes the directories above the file, and opens it: PAYLOAD is the path, the argument the permissions.
    void WritePut()
    {
        Label next = a.CreateLabel(), end = a.CreateLabel();
        TakeJob();
        a.mov(r15d, Payload);
        a.Label(ref next);
        a.inc(r15);                                             // past the first character: maybe the root's slash
        a.cmp(__byte_ptr[r15], 0);
        a.je(end);
        a.cmp(__byte_ptr[r15], '/');
        a.jne(next);
        a.mov(__byte_ptr[r15], 0);
        a.mov(edi, Payload);
        a.mov(esi, 0x1ED);
        Call(SysMkdir);                                         // most are there already
        a.mov(__byte_ptr[r15], '/');
        a.jmp(next);

        a.Label(ref end);
        a.mov(edi, Payload);
        a.mov(esi, WriteOnly | Create | Truncate | CloseOnExec | NonBlocking);
        a.mov(edx, 0x180);
        Call(SysOpen);
        a.test(eax, eax);
        a.js(_fail);
        a.mov(__dword_ptr[rbx + JobFile], eax);
        a.mov(__dword_ptr[rbx + JobCount], 0);
        OccupyJob(Writing);
        a.mov(edi, eax);
        a.mov(esi, r13d);
        Call(SysFchmod);                                        // not of a device or in /proc
    }

    void WriteFileData()
    {
        Label more = a.CreateLabel(), done = a.CreateLabel(), failed = a.CreateLabel();
        FindJob(Writing, done);
        a.mov(r15d, Payload);
        a.Label(ref more);
        a.test(r14d, r14d);
        a.jz(done);
        a.mov(edi, __dword_ptr[rbx + JobFile]);
        a.mov(rsi, r15);
        a.mov(edx, r14d);
        Call(SysWrite);
        a.cmp(eax, -Interrupted);
        a.je(more);
        a.test(eax, eax);
        a.js(failed);
        a.add(r15, rax);
        a.sub(r14d, eax);
        a.add(__dword_ptr[rbx + JobCount], eax);
        a.jmp(more);

        a.Label(ref failed);
        a.mov(r15d, eax);
        a.mov(__dword_ptr[rbx + JobState], Free);
        a.mov(edi, __dword_ptr[rbx + JobFile]);
        Call(SysClose);
        a.mov(eax, r15d);
        a.jmp(_fail);
        a.Label(ref done);
    }

    // The argument is the number of bytes that should have come: a frame lost on the line does not go unnoticed.
    void WriteFileEnd()
    {
        Label done = a.CreateLabel(), lost = a.CreateLabel();
        FindJob(Writing, done);
        a.mov(__dword_ptr[rbx + JobState], Free);
        a.mov(edi, __dword_ptr[rbx + JobFile]);
        Call(SysClose);
        a.test(eax, eax);
        a.js(_fail);
        a.cmp(__dword_ptr[rbx + JobCount], r13d);
        a.jne(lost);
        a.mov(esi, r12d);
        a.xor(edx, edx);
        SendEmpty(ChannelKind.Stored);
        a.ret();
        a.Label(ref lost);
        a.mov(eax, -InputOutput);
        a.jmp(_fail);
        a.Label(ref done);
    }

    void WriteGet()
    {
        Label failed = a.CreateLabel(), directory = a.CreateLabel();
        TakeJob();
        a.mov(edi, Payload);
        a.mov(esi, ReadOnly | CloseOnExec | NonBlocking);
        Call(SysOpen);
        a.test(eax, eax);
        a.js(_fail);
        a.mov(r15d, eax);
        a.mov(edi, eax);
        a.mov(esi, FileStatus);
        Call(SysFstat);
        a.test(eax, eax);
        a.js(failed);
        a.mov(ecx, __dword_ptr[FileStatus + FileModeOffset]);
        a.mov(eax, ecx);
        a.and(eax, FileTypeBits);
        a.cmp(eax, DirectoryType);
        a.je(directory);
        a.and(ecx, PermissionBits);
        a.mov(__dword_ptr[rbx + JobCount], ecx);
        a.mov(__dword_ptr[rbp], r15d);
        OccupyJob(Reading);
        a.ret();

        a.Label(ref directory);
        a.mov(eax, -IsDirectory);
        a.Label(ref failed);
        a.mov(r13d, eax);
        a.mov(edi, r15d);
        Call(SysClose);
        a.mov(eax, r13d);
        a.jmp(_fail);
    }
}
