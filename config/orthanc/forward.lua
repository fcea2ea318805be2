-- Orthanc forwards the radiographs of every stable study to the fracture AI node.
--
-- Put this file into "LuaScripts" of Orthanc's configuration; orthanc.json beside it shows all that is needed:
-- the node under the name below in "DicomModalities", and the user metadata "AiForwarded" = 1024.
--
-- Two guards against an endless loop, since results come back into the same study and make it stable again:
-- series that the node itself sent are never forwarded, and a series is forwarded once for each number of instances
-- (a late image changes the number; the whole series is then sent again, which the node expects).

local NODE = 'fractureai'                -- name of the node in "DicomModalities"
local MODALITIES = { CR = true, DX = true, RG = true }
local MARK = 'AiForwarded'               -- name in "UserMetadata"

local function nodeAeTitle()
   local configuration = ParseJson(RestApiGet('/modalities/' .. NODE .. '/configuration'))
   return configuration['AET']
end

local function cameFromNode(seriesId, aeTitle)
   for _, instance in ipairs(ParseJson(RestApiGet('/series/' .. seriesId .. '/instances'))) do
      local metadata = '/instances/' .. instance['ID'] .. '/metadata'
      local known = ParseJson(RestApiGet(metadata))
      local sender = nil
      for _, name in ipairs(known) do
         if name == 'RemoteAET' then sender = RestApiGet(metadata .. '/RemoteAET') end
      end
      if sender ~= aeTitle then return false end
   end
   return true
end

local function alreadyForwarded(seriesId, count)
   for _, name in ipairs(ParseJson(RestApiGet('/series/' .. seriesId .. '/metadata'))) do
      if name == MARK then
         return RestApiGet('/series/' .. seriesId .. '/metadata/' .. MARK) == count
      end
   end
   return false
end

function OnStableStudy(studyId, tags, metadata, origin)
   local aeTitle = nodeAeTitle()
   local chosen = {}
   local marks = {}
   for _, series in ipairs(ParseJson(RestApiGet('/studies/' .. studyId .. '/series'))) do
      local id = series['ID']
      local count = tostring(#series['Instances'])
      if MODALITIES[series['MainDicomTags']['Modality']]
         and not cameFromNode(id, aeTitle) and not alreadyForwarded(id, count) then
         table.insert(chosen, id)
         marks[id] = count
      end
   end
   if #chosen == 0 then return end

   -- An asynchronous job: Orthanc goes on receiving meanwhile, and the job can be seen under /jobs.
   RestApiPost('/modalities/' .. NODE .. '/store',
               DumpJson({ Resources = chosen, Asynchronous = true, Permissive = true }))
   for id, count in pairs(marks) do
      RestApiPut('/series/' .. id .. '/metadata/' .. MARK, count)
   end
   print('fracture AI: ' .. #chosen .. ' series forwarded')
end

function OnJobFailure(jobId)
   local job = ParseJson(RestApiGet('/jobs/' .. jobId))
   if job['Type'] == 'DicomModalityStore' then
      print('fracture AI: job ' .. jobId .. ' failed; it can be resubmitted under /jobs/' .. jobId .. '/resubmit')
   end
end
