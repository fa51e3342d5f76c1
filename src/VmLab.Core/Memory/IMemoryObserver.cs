namespace VmLab.Core;

/// <summary>Someone who keeps translations or decoded code of a machine's memory: a vCPU.</summary>
public interface IMemoryObserver
{
    /// <summary>Drop every right to store to this page without asking.</summary>
    void OnProtected(ulong page);

    /// <summary>Drop every right to store to any page without asking.</summary>
    void OnAllProtected();

    /// <summary>The page lies in another frame now, of the same bytes: drop every pointer into it.</summary>
    void OnMoved(ulong page);

    /// <summary>The page is about to become another: drop all that was made of its bytes.</summary>
    void OnReplacing(ulong page);

    /// <summary>Bytes of a page that holds code or page tables are about to change.</summary>
    /// <param name="flags">The page's flags as they stand.</param>
    void OnWriting(ulong page, int offset, int length, PageFlags flags);
}
